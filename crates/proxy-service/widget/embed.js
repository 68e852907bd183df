/* Flowgate's chat on your page: a button, and behind it, once it is pressed, a frame from the chat server.
   Options are data-* attributes of this script's tag, or members of window.ChatWidgetConfig. */
(() => {
  'use strict';

  /* The server writes here what the embed's owner has set: {embed, texts, settings}. */
  const SERVED = null;

  const script = document.currentScript;
  const ROOT_ID = 'chat-widget-root';
  /* A page that is not admitted gets no answer from the frame; then there is nothing to show here. */
  const REFUSED_AFTER_MS = 4000;
  const PASSED_ON = ['embed', 'theme', 'title', 'placeholder', 'welcomeMessage', 'language', 'dir', 'position'];
  const POSITIONS = ['bottom-right', 'bottom-left', 'top-right', 'top-left'];
  const ENGLISH = { open: 'Open chat', close: 'Close chat', unread: 'Unread messages: {count}' };
  const ICONS = {
    open: 'M4 5.5A2.5 2.5 0 0 1 6.5 3h11A2.5 2.5 0 0 1 20 5.5v8a2.5 2.5 0 0 1-2.5 2.5H10l-4.2 3.7A.5.5 0 0 1 5 19.3V16A2.4 2.4 0 0 1 4 14Z',
    close: 'M6.3 9.3a1 1 0 0 1 1.4 0L12 13.6l4.3-4.3a1 1 0 1 1 1.4 1.4l-5 5a1 1 0 0 1-1.4 0l-5-5a1 1 0 0 1 0-1.4Z',
  };

  const STYLE = `
    :host { all: initial; }
    .launcher, .panel { position: fixed; z-index: 2147483000; box-sizing: border-box; margin: 0; border: 0; }
    .launcher {
      width: var(--size); height: var(--size); padding: 0; border-radius: 50%; cursor: pointer;
      background: var(--accent); color: var(--on-accent); display: grid; place-items: center;
      box-shadow: 0 1px 3px rgb(0 0 0 / .2), 0 6px 20px rgb(0 0 0 / .22);
      transition: transform .15s ease, box-shadow .15s ease;
    }
    .launcher:hover { transform: translateY(-2px); box-shadow: 0 2px 4px rgb(0 0 0 / .2), 0 10px 28px rgb(0 0 0 / .26); }
    .launcher:active { transform: none; }
    .launcher:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; box-shadow: 0 0 0 3px #fff; }
    .launcher svg { width: 46%; height: 46%; fill: currentColor; display: block; }
    .badge {
      position: absolute; top: -4px; right: -4px; min-width: 22px; height: 22px; padding: 0 6px; box-sizing: border-box;
      border-radius: 11px; border: 2px solid #fff; background: #c92a2a; color: #fff;
      font: 600 12px/18px system-ui, sans-serif; text-align: center;
    }
    .badge[hidden] { display: none; }
    .panel {
      width: min(var(--width), 100vw - 32px); height: min(var(--height), 100vh - var(--size) - 56px);
      border-radius: 16px; background: Canvas; color-scheme: inherit; overflow: hidden;
      box-shadow: 0 2px 6px rgb(0 0 0 / .12), 0 16px 48px rgb(0 0 0 / .26);
      visibility: hidden; opacity: 0; transform: translateY(8px) scale(.985); transition: none;
    }
    .open .panel { visibility: visible; opacity: 1; transform: none; transition: opacity .16s ease, transform .16s ease; }
    .right .launcher, .right .panel { right: calc(var(--side) + env(safe-area-inset-right, 0px)); }
    .left .launcher, .left .panel { left: calc(var(--side) + env(safe-area-inset-left, 0px)); }
    .bottom .launcher { bottom: calc(var(--edge) + env(safe-area-inset-bottom, 0px)); }
    .top .launcher { top: calc(var(--edge) + env(safe-area-inset-top, 0px)); }
    .bottom .panel { bottom: calc(var(--edge) + var(--size) + 14px + env(safe-area-inset-bottom, 0px)); }
    .top .panel { top: calc(var(--edge) + var(--size) + 14px + env(safe-area-inset-top, 0px)); }
    @media (max-width: 520px), (max-height: 460px) {
      .panel { inset: 0 !important; width: 100vw; height: var(--visible, 100dvh); border-radius: 0; box-shadow: none; }
      .open .launcher { visibility: hidden; }
    }
    @media (prefers-reduced-motion: reduce) { .launcher, .panel, .open .panel { transition: none; } }
    @media (forced-colors: active) { .launcher { border: 2px solid ButtonText; } }
    @media print { .launcher, .panel { display: none; } }
  `;

  /* "true" and "16" in an attribute mean a boolean and a number. */
  function coerced(value) {
    if (typeof value !== 'string') return value;
    if (value === 'true') return true;
    if (value === 'false') return false;
    return /^-?\d{1,9}(\.\d{1,4})?$/.test(value) ? Number(value) : value;
  }

  /* What the tag's own address says: where the chat server is, and which embed. */
  function fromAddress() {
    if (!script || !script.src) return {};
    const url = new URL(script.src, document.baseURI);
    const embed = url.searchParams.get('embed');
    return { apiBaseUrl: url.origin, ...(embed && { embed }) };
  }

  function fromTag() {
    const options = {};
    for (const [name, value] of Object.entries((script && script.dataset) || {})) options[name] = coerced(value);
    if (options.embedId !== undefined) options.embed = options.embedId;
    return options;
  }

  /* Tag over window.ChatWidgetConfig over what the embed's owner has set over defaults. */
  function optionsWith(given) {
    const served = (SERVED && SERVED.settings) || {};
    const defaults = { position: 'bottom-right', width: 400, height: 640, buttonSize: 60, bottomOffset: 20, rightOffset: 20 };
    const config = typeof window.ChatWidgetConfig === 'object' ? window.ChatWidgetConfig : {};
    const options = { ...defaults, ...served, ...fromAddress(), ...config, ...fromTag(), ...given };
    const base = new URL(options.apiBaseUrl || document.baseURI, document.baseURI);
    options.origin = base.origin;
    options.base = base.href.replace(/[?#].*$/, '').replace(/\/+$/, '');
    if (!options.apiBaseUrl) options.base = base.origin;
    if (!POSITIONS.includes(options.position)) options.position = defaults.position;
    options.language = String(options.language || document.documentElement.lang || navigator.language || 'en');
    return options;
  }

  function textsIn(language) {
    const texts = (SERVED && SERVED.texts) || {};
    return texts[language.toLowerCase().split(/[-_]/)[0]] || texts.en || ENGLISH;
  }

  function pixels(value, least, most, otherwise) {
    const number = Number.parseFloat(value);
    return `${Number.isFinite(number) ? Math.min(Math.max(number, least), most) : otherwise}px`;
  }

  /* Black or white, whichever reads better on the accent. */
  function inkOn(color) {
    const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    if (!probe) return '#fff';
    probe.fillStyle = '#3b5bdb';
    probe.fillStyle = color;
    probe.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...probe.getImageData(0, 0, 1, 1).data].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#111' : '#fff';
  }

  function icon(path) {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('aria-hidden', 'true');
    const shape = document.createElementNS(svg.namespaceURI, 'path');
    shape.setAttribute('d', path);
    svg.append(shape);
    return svg;
  }

  function frameAddress(options) {
    const url = new URL(`${options.base}/widget/modern-widget.html`);
    for (const name of PASSED_ON) {
      const value = options[name];
      if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, String(value).slice(0, 500));
    }
    return url.href;
  }

  class Widget {
    constructor(given) {
      this.options = optionsWith(given);
      this.texts = textsIn(this.options.language);
      this.unread = 0;
      this.isOpen = false;
      this.ending = new AbortController();
      this.build();
    }

    build() {
      const { options } = this;
      this.root = document.createElement('div');
      this.root.id = ROOT_ID;
      const shadow = this.root.attachShadow({ mode: 'open' });
      /* A constructed sheet is no inline style to the page's Content-Security-Policy. */
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      shadow.adoptedStyleSheets = [sheet];

      this.area = document.createElement('div');
      this.area.className = options.position.replace('-', ' ');
      this.set('--size', pixels(options.buttonSize, 44, 96, 60));
      this.set('--width', pixels(options.width, 280, 800, 400));
      this.set('--height', pixels(options.height, 320, 1200, 640));
      this.set('--edge', pixels(options.bottomOffset, 0, 400, 20));
      this.set('--side', pixels(options.rightOffset, 0, 400, 20));
      this.paint(options.primaryColor || '#3b5bdb');

      this.launcher = document.createElement('button');
      this.launcher.type = 'button';
      this.launcher.className = 'launcher';
      this.launcher.setAttribute('part', 'launcher');
      this.badge = document.createElement('span');
      this.badge.className = 'badge';
      this.badge.setAttribute('aria-hidden', 'true');
      this.area.append(this.launcher);
      shadow.append(this.area);
      this.dress();

      this.launcher.addEventListener('click', () => (this.isOpen ? this.close() : this.open()));
      /* Whoever points at the button will probably press it. */
      this.launcher.addEventListener('pointerenter', () => this.load(), { once: true });
      const { signal } = this.ending;
      this.root.addEventListener('keydown', (event) => {
        if (event.key === 'Escape' && this.isOpen) this.close();
      }, { signal });
      /* An on-screen keyboard covers a part of the window; the panel keeps to what is left. */
      const seen = window.visualViewport;
      if (seen) seen.addEventListener('resize', () => this.set('--visible', `${Math.round(seen.height)}px`), { signal });
      document.body.append(this.root);
      if (options.autoOpen === true) this.timer = setTimeout(() => this.open(), Number(options.autoOpenDelay) || 0);
    }

    set(name, value) {
      this.area.style.setProperty(name, value);
    }

    paint(color) {
      if (!CSS.supports('color', color)) return;
      this.set('--accent', color);
      this.set('--on-accent', inkOn(color));
    }

    /* The button says what it does, and how much waits behind it. */
    dress() {
      const label = this.isOpen ? this.texts.close : this.texts.open;
      const waiting = this.unread > 0 ? `. ${this.texts.unread.replace('{count}', this.unread)}` : '';
      this.launcher.setAttribute('aria-label', label + waiting);
      this.launcher.setAttribute('aria-expanded', String(this.isOpen));
      this.launcher.replaceChildren(icon(this.isOpen ? ICONS.close : ICONS.open), this.badge);
      this.badge.hidden = this.unread === 0;
      this.badge.textContent = this.unread > 99 ? '99+' : String(this.unread);
      this.area.classList.toggle('open', this.isOpen);
    }

    load() {
      if (this.frame) return;
      this.frame = document.createElement('iframe');
      this.frame.className = 'panel';
      this.frame.title = String(this.options.title || 'Chat');
      this.frame.allow = 'clipboard-write';
      this.frame.referrerPolicy = 'strict-origin-when-cross-origin';
      this.frame.src = frameAddress(this.options);
      /* Until it is shown, nobody gets into it with the keyboard: visibility keeps it out of the order. */
      this.frame.addEventListener('load', () => this.connect());
      this.area.append(this.frame);
    }

    /* The frame gets one end of a channel of its own; nobody else can speak on it, or listen. */
    connect() {
      if (this.port) this.port.close();
      const channel = new MessageChannel();
      this.port = channel.port1;
      this.port.onmessage = (event) => this.hear(event.data);
      const hello = { type: 'flowgate:connect', page: location.href.replace(/#.*$/, '').slice(0, 2000), open: this.isOpen };
      this.frame.contentWindow.postMessage(hello, this.options.origin, [channel.port2]);
      clearTimeout(this.refusal);
      this.refusal = setTimeout(() => this.giveUp(), REFUSED_AFTER_MS);
    }

    giveUp() {
      console.warn(`The chat of ${this.options.origin} does not open on ${location.origin}: ask its operator to allow this site.`);
      this.destroy();
    }

    hear(message) {
      if (!message || typeof message !== 'object') return;
      if (message.type === 'ready') {
        clearTimeout(this.refusal);
        if (typeof message.title === 'string') this.frame.title = message.title.slice(0, 200);
        if (typeof message.accent === 'string' && !this.options.primaryColor) this.paint(message.accent);
      } else if (message.type === 'unread') {
        this.unread = Math.max(0, Math.trunc(Number(message.count)) || 0);
        this.dress();
      } else if (message.type === 'close') {
        this.close();
      }
    }

    tell(type) {
      if (this.port) this.port.postMessage({ type });
    }

    open() {
      if (this.isOpen || this.ending.signal.aborted) return;
      this.load();
      this.isOpen = true;
      this.dress();
      this.frame.focus();
      this.tell('shown');
    }

    close() {
      if (!this.isOpen) return;
      this.isOpen = false;
      this.dress();
      this.launcher.focus();
      this.tell('hidden');
    }

    destroy() {
      this.ending.abort();
      clearTimeout(this.timer);
      clearTimeout(this.refusal);
      if (this.port) this.port.close();
      this.root.remove();
      if (current === this) current = null;
    }
  }

  let current = null;

  /* Shows the chat with these options, instead of the one that is there. */
  function initChatWidget(given) {
    if (current) current.destroy();
    const left = document.getElementById(ROOT_ID);
    if (left) left.remove();
    const widget = new Widget(given || {});
    current = widget;
    return { open: () => widget.open(), close: () => widget.close(), destroy: () => widget.destroy() };
  }

  window.initChatWidget = initChatWidget;
  const start = () => {
    if (!document.getElementById(ROOT_ID)) initChatWidget();
  };
  if (script && script.dataset.autoInit === 'false') return;
  if (document.body) start();
  else document.addEventListener('DOMContentLoaded', start, { once: true });
})();
