/* Colours: the owner's accent, made readable on whatever it stands, in light and dark. */

const CONTRAST_MIN = 4.5;

/* Which member of the theme sets which property of the page's style. */
const PROPERTIES = { borderRadius: '--radius' };

/** Dresses the page. `scheme` is `light`, `dark` or `auto`. */
export function applyTheme(root, scheme, theme = {}) {
  root.dataset.theme = ['light', 'dark'].includes(scheme) ? scheme : 'auto';
  for (const [name, property] of Object.entries(PROPERTIES)) {
    if (/^\d{1,3}(\.\d+)?(px|rem)$/.test(theme[name] ?? '')) root.style.setProperty(property, theme[name]);
  }
  const accent = rgb(theme.primaryColor);
  if (!accent) return;
  root.style.setProperty('--accent', css(accent));
  root.style.setProperty('--on-accent', contrast(accent, [255, 255, 255]) >= CONTRAST_MIN ? '#ffffff' : readableInk(accent));
  root.style.setProperty('--accent-on-light', css(readable(accent, [244, 245, 247])));
  root.style.setProperty('--accent-on-dark', css(readable(accent, [38, 44, 53])));
}

function readableInk(accent) {
  return contrast(accent, [17, 17, 17]) > contrast(accent, [255, 255, 255]) ? '#111111' : '#ffffff';
}

/* The colour itself, or as little of black or white in it as makes it readable. */
function readable(color, ground) {
  const ink = luminance(ground) > 0.18 ? [0, 0, 0] : [255, 255, 255];
  for (let share = 0; share <= 1; share += 0.05) {
    const mixed = color.map((part, index) => Math.round(part + (ink[index] - part) * share));
    if (contrast(mixed, ground) >= CONTRAST_MIN) return mixed;
  }
  return ink;
}

function rgb(text) {
  if (typeof text !== 'string' || !CSS.supports('color', text)) return null;
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  if (!canvas) return null;
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

function css([r, g, b]) {
  return `rgb(${r} ${g} ${b})`;
}

function luminance(color) {
  const [r, g, b] = color.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** WCAG's contrast of two colours. */
export function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}
