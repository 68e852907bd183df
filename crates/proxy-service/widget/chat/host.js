/* The page around this one, if there is one: embed.js in it opens a channel, on which nobody else can speak. */

export class Host extends EventTarget {
  #port = null;
  #waiting = [];

  constructor() {
    super();
    this.isFramed = window.parent !== window;
    this.connected = new Promise((resolve) => {
      if (!this.isFramed) resolve(null);
      window.addEventListener('message', (event) => {
        const [port] = event.ports;
        if (event.source !== window.parent || event.data?.type !== 'flowgate:connect' || !port) return;
        this.#connect(port);
        /* Which pages may frame this one is the browser's check (frame-ancestors), so its origin can be believed. */
        const page = typeof event.data.page === 'string' ? event.data.page.slice(0, 2000) : undefined;
        resolve({ origin: event.origin, page, open: event.data.open === true });
      });
    });
  }

  #connect(port) {
    this.#port?.close();
    this.#port = port;
    port.onmessage = (event) => {
      if (['shown', 'hidden'].includes(event.data?.type)) this.dispatchEvent(new Event(event.data.type));
    };
    port.postMessage({ type: 'ready' });
    for (const message of this.#waiting.splice(0)) port.postMessage(message);
  }

  tell(message) {
    if (this.#port) this.#port.postMessage(message);
    else if (this.isFramed && this.#waiting.length < 20) this.#waiting.push(message);
  }
}
