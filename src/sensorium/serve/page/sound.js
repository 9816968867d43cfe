// Sound: the waveform and the spectrogram with attention over them, and the sound itself.

import { canvas, colour, element } from "./dom.js";
import { HEAT, css } from "./heat.js";
import { player } from "./player.js";

const WIDTH = 900;
const HEIGHT = 90;

// The samples of a file; null where the browser cannot decode it.
async function samplesOf(file) {
  try {
    const context = new OfflineAudioContext(1, 1, 44100);
    return (await context.decodeAudioData(await file.arrayBuffer())).getChannelData(0);
  } catch {
    return null;
  }
}

// The strongest attention in each of some stretches of time.
function overTime(attention, count) {
  if (!attention) return null;
  const [steps, height = 1] = attention.shape;
  return Array.from({ length: count }, (_, column) => {
    const first = Math.floor((column * steps) / count);
    const last = Math.max(first + 1, Math.floor(((column + 1) * steps) / count));
    let most = 0;
    for (let place = first * height; place < last * height; place += 1) most = Math.max(most, attention.data[place]);
    return most;
  });
}

function drawWave(shown, samples, attention, settings, share) {
  const context = shown.getContext("2d");
  context.clearRect(0, 0, WIDTH, HEIGHT);
  const heat = overTime(attention, WIDTH / 3);
  const loudest = samples.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
  for (let bar = 0; bar < WIDTH / 3; bar += 1) {
    const first = Math.floor((bar * samples.length * 3) / WIDTH);
    const last = Math.max(first + 1, Math.floor(((bar + 1) * samples.length * 3) / WIDTH));
    let most = 0;
    for (let place = first; place < last; place += 1) most = Math.max(most, Math.abs(samples[place]));
    const height = Math.max(1.5, (most / loudest) * (HEIGHT - 12));
    const played = bar * 3 < share * WIDTH;
    if (heat) {
      context.fillStyle = css(heat[bar], settings.strength);
      context.fillRect(bar * 3, 0, 3, HEIGHT);
    }
    context.fillStyle = played ? `rgb(${colour("--accent")})` : colour("--ink");
    context.fillRect(bar * 3, (HEIGHT - height) / 2, 2, height);
  }
}

function drawSpectrogram(shown, signal, settings, share) {
  const [steps, mels] = signal.spectrogram.shape;
  const context = shown.getContext("2d");
  const image = context.createImageData(steps, mels);
  const strength = settings.strength;
  for (let step = 0; step < steps; step += 1) {
    for (let mel = 0; mel < mels; mel += 1) {
      const value = signal.spectrogram.data[step * mels + mel] / 255;
      const base = [18 + 90 * value ** 1.5, 24 + 150 * value, 46 + 190 * value ** 0.8];
      const [red, green, blue, opacity] = signal.attention ? HEAT[signal.attention.data[step * mels + mel]] : HEAT[0];
      const heat = [red, green, blue];
      const place = 4 * ((mels - 1 - mel) * steps + step);
      for (let channel = 0; channel < 3; channel += 1) {
        image.data[place + channel] = base[channel] + 0.9 * opacity * strength * (heat[channel] - base[channel]);
      }
      image.data[place + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  context.fillStyle = "rgb(255 255 255 / .8)";
  if (share > 0) context.fillRect(Math.min(steps - 1, Math.floor(share * steps)), 0, Math.max(1, steps / 400), mels);
}

export function sound(signal, settings, file) {
  const wave = canvas(WIDTH, HEIGHT, "The waveform, with the attention behind it", "strip");
  const stage = element("div", { className: "stage" }, wave);
  let spectrogram = null;
  if (signal.spectrogram) {
    const [steps, mels] = signal.spectrogram.shape;
    spectrogram = canvas(steps, mels, "The spectrogram, low tones at the bottom, with the attention over it", "strip");
    spectrogram.style.height = "150px";
    stage.append(spectrogram);
  }
  let samples = signal.samples?.data ?? null;
  let share = 0;
  wave.hidden = !samples;
  const draw = () => {
    if (samples) drawWave(wave, samples, signal.attention, settings, share);
    if (spectrogram) drawSpectrogram(spectrogram, signal, settings, share);
  };
  if (!samples && file) {
    samplesOf(file).then((found) => {
      samples = found;
      wave.hidden = !found;
      draw();
    });
  }
  const show = (time) => {
    share = time / signal.seconds;
    draw();
  };
  const controls = player({ seconds: signal.seconds, file, name: "sound", show });
  return { parts: [stage, controls.bar], draw, stop: controls.stop };
}
