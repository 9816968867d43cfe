// The colours of attention, 0 to 255, and pictures with them on top.

// Colour and opacity of some strengths; in between they are mixed.
const STOPS = [
  [0, 255, 205, 70, 0],
  [0.2, 255, 190, 50, 0.26],
  [0.5, 255, 122, 30, 0.6],
  [1, 214, 16, 60, 0.88],
];

function mixed(strength) {
  const above = STOPS.findIndex(([at]) => at >= strength);
  if (above <= 0) return STOPS[0].slice(1);
  const [low, high] = [STOPS[above - 1], STOPS[above]];
  const share = (strength - low[0]) / (high[0] - low[0]);
  return low.slice(1).map((value, channel) => value + share * (high[channel + 1] - value));
}

export const HEAT = Array.from({ length: 256 }, (_, level) => mixed(level / 255));

export function css(level, strength = 1) {
  const [red, green, blue, opacity] = HEAT[Math.round(level)];
  return `rgb(${red | 0} ${green | 0} ${blue | 0} / ${(opacity * strength).toFixed(3)})`;
}

// Grey or coloured pixels with attention over them: pixels height × width × channels, attention height × width or null.
// The pixels lose their colour where attention is shown, so that it is seen on red and orange, too.
export function painted(pixels, channels, attention, width, height, strength) {
  const image = new ImageData(width, height);
  for (let place = 0; place < width * height; place += 1) {
    const [red, green, blue, opacity] = attention ? HEAT[attention[place]] : HEAT[0];
    const share = opacity * strength;
    const heat = [red, green, blue];
    const colour = heat.map((_, channel) => pixels[place * channels + (channels === 1 ? 0 : channel)]);
    const grey = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2];
    for (let channel = 0; channel < 3; channel += 1) {
      const value = attention ? colour[channel] + 0.75 * strength * (grey - colour[channel]) : colour[channel];
      image.data[4 * place + channel] = value + share * (heat[channel] - value);
    }
    image.data[4 * place + 3] = 255;
  }
  return image;
}
