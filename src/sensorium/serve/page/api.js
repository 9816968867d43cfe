// Requests to the server.

let token = "";

export function setToken(value) {
  token = value;
}

export const hasToken = () => token !== "";

class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

async function request(path, options = {}) {
  const headers = token ? { ...options.headers, Authorization: `Bearer ${token}` } : options.headers;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. Is it still running?");
  }
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, content.error ?? `The server answered ${response.status}.`);
  return content;
}

export const readSchema = () => request("/v1/schema");

// parts: [{field, name, content}], where content is a File, a Blob or a text.
export function ask(parts, { explain, crossAttend, signal }) {
  const form = new FormData();
  for (const { field, name, content } of parts) {
    if (content instanceof Blob) form.append(field, content, name);
    else form.append(field, content);
  }
  const options = explain ? `explain?top=8&cross_attend=${crossAttend}` : "predict?top=8";
  return request(`/v1/${options}`, { method: "POST", body: form, signal });
}

const TYPES = { uint8: Uint8Array, float32: Float32Array };

// An array of an answer: {shape, dtype, data} as {shape, data}, with numbers.
export function decode(array) {
  const bytes = Uint8Array.from(atob(array.data), (letter) => letter.charCodeAt(0));
  return { shape: array.shape, data: new TYPES[array.dtype](bytes.buffer) };
}

export function decodeSignal(signal) {
  const decoded = { ...signal };
  for (const [name, value] of Object.entries(signal)) {
    if (value && typeof value === "object" && "dtype" in value) decoded[name] = decode(value);
  }
  return decoded;
}

// Server-sent events of a path: tell(content) for each, lost() when the connection breaks; it is made again and again.
// (EventSource cannot name a token.)
export async function follow(path, tell, lost) {
  for (;;) {
    try {
      const response = await fetch(path, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
      if (!response.ok) throw new Refused(response.status, (await response.json()).error);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let buffer = "";
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const events = (buffer + part.value).split("\n\n");
        buffer = events.pop();
        for (const event of events) if (event.startsWith("data: ")) tell(JSON.parse(event.slice(6)));
      }
      lost(new Refused(0, "the connection is lost; trying again"));
    } catch (error) {
      lost(error);
      if (error.status === 401) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}
