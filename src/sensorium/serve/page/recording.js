// Recording from the microphone and the camera. Nothing is recorded until the person presses a button.

import { element } from "./dom.js";

const LONGEST = 10; // seconds of a recording

// Sound as a WAV file of 16 bits, one channel: what every server reads.
function wavFile(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const letters = (at, text) => [...text].forEach((letter, place) => view.setUint8(at + place, letter.charCodeAt(0)));
  letters(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  letters(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, place) => view.setInt16(44 + 2 * place, Math.max(-1, Math.min(1, value)) * 32767, true));
  return new File([view], "recording.wav", { type: "audio/wav" });
}

async function asWav(blob) {
  const context = new AudioContext();
  const decoded = await context.decodeAudioData(await blob.arrayBuffer());
  await context.close();
  return wavFile(decoded.getChannelData(0), decoded.sampleRate);
}

// Records until stop() or the longest time; resolves to a blob.
function recorded(stream, button, label) {
  return new Promise((resolve, reject) => {
    const recorder = new MediaRecorder(stream);
    const chunks = [];
    const began = performance.now();
    const timer = setInterval(() => {
      const seconds = (performance.now() - began) / 1000;
      button.lastChild.textContent = `Stop (${Math.max(0, LONGEST - seconds).toFixed(0)} s)`;
      if (seconds >= LONGEST) recorder.stop();
    }, 200);
    recorder.addEventListener("dataavailable", (event) => chunks.push(event.data));
    recorder.addEventListener("error", (event) => reject(event.error));
    recorder.addEventListener("stop", () => {
      clearInterval(timer);
      button.classList.remove("recording");
      button.lastChild.textContent = label;
      resolve(new Blob(chunks, { type: recorder.mimeType }));
    });
    button.classList.add("recording");
    button.onclick = () => recorder.state === "recording" && recorder.stop();
    recorder.start();
  });
}

function recordButton(label, work, fail) {
  const button = element("button", { type: "button" }, element("span", { className: "dot", ariaHidden: "true" }), label);
  const start = async () => {
    button.onclick = null;
    try {
      await work(button, label);
    } catch (error) {
      const denied = error.name === "NotAllowedError" ? "The browser does not let this page record." : `It cannot be recorded: ${error.message}`;
      fail(denied);
    }
    button.onclick = start;
  };
  button.onclick = start;
  return button;
}

async function withStream(wanted, work) {
  const stream = await navigator.mediaDevices.getUserMedia(wanted);
  try {
    return await work(stream);
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}

async function withViewfinder(viewfinder, stream, work) {
  viewfinder.srcObject = stream;
  viewfinder.hidden = false;
  await viewfinder.play();
  try {
    return await work();
  } finally {
    viewfinder.hidden = true;
    viewfinder.srcObject = null;
  }
}

function photograph(viewfinder) {
  const shot = element("canvas", { width: viewfinder.videoWidth, height: viewfinder.videoHeight });
  shot.getContext("2d").drawImage(viewfinder, 0, 0);
  return new Promise((resolve) => shot.toBlob((blob) => resolve(new File([blob], "photograph.png", { type: "image/png" })), "image/png"));
}

// Buttons for the kinds of signal that can be recorded; give(file) takes what was recorded.
export function recordButtons(kinds, viewfinder, give, fail) {
  if (!navigator.mediaDevices?.getUserMedia) return [];
  const buttons = [];
  if (kinds.has("image")) {
    const takePhotograph = (button, label) =>
      withStream({ video: true }, (stream) =>
        withViewfinder(viewfinder, stream, async () => {
          button.lastChild.textContent = "Take the picture";
          await new Promise((resolve) => (button.onclick = resolve));
          button.lastChild.textContent = label;
          give(await photograph(viewfinder));
        }),
      );
    buttons.push(recordButton("Use the camera", takePhotograph, fail));
  }
  if (kinds.has("video")) {
    const recordFilm = (button, label) =>
      withStream({ video: true, audio: kinds.has("audio") }, (stream) =>
        withViewfinder(viewfinder, stream, async () => {
          const blob = await recorded(stream, button, label);
          const ending = blob.type.includes("mp4") ? "mp4" : "webm";
          give(new File([blob], `recording.${ending}`, { type: blob.type }));
        }),
      );
    buttons.push(recordButton("Record a film", recordFilm, fail));
  } else if (kinds.has("audio")) {
    const recordSound = (button, label) =>
      withStream({ audio: true }, async (stream) => give(await asWav(await recorded(stream, button, label))));
    buttons.push(recordButton("Record sound", recordSound, fail));
  }
  return buttons;
}
