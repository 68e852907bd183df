/* The session of this browser. Its tokens are in cookies that no script can read; all that is done here is to have them
   renewed, and to go to the log-in page when the session is over. */

const LOCK = 'flowgate-session';

let renewing = null;

/** Has the cookies renewed, once however many ask; `false` when the session is over. */
export function renewSession() {
  renewing ??= renew().finally(() => {
    renewing = null;
  });
  return renewing;
}

/* One tab at a time, where browsers can say so: two at once would show the same token twice. */
async function renew() {
  const { locks } = navigator;
  return locks ? locks.request(LOCK, ask) : ask();
}

async function ask() {
  const response = await fetch('/session/refresh', { method: 'POST', credentials: 'same-origin', cache: 'no-store' });
  /* That the service is away for a moment says nothing about the session. */
  if (response.status >= 500 || response.status === 429) throw new TypeError('the session cannot be renewed now');
  return response.ok;
}

/** To the log-in page, and back here afterwards. */
export function goToLogin() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
}

/** Signs this browser out. */
export async function endSession() {
  await fetch('/session/end', { method: 'POST', credentials: 'same-origin', cache: 'no-store' });
  location.assign('/login');
}
