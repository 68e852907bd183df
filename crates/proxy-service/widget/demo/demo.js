/* The demo page: shows the chat as it is chosen, and the tag that shows it so elsewhere. */

const form = document.getElementById('choices');
const snippet = document.getElementById('snippet');
const copy = document.getElementById('copy');
const plain = snippet.textContent;
const missing = document.querySelector('.missing').textContent !== '';

function chosen() {
  return Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ''));
}

function show() {
  const options = chosen();
  const usual = { theme: 'auto', position: 'bottom-right', language: 'en' };
  const attributes = Object.entries(options)
    .filter(([name, value]) => usual[name] !== value)
    .map(([name, value]) => `\n  data-${name}="${value}"`);
  snippet.textContent = plain.replace(' async', `${attributes.join('')} async`);
  if (!missing) window.initChatWidget(options);
}

form.addEventListener('change', show);
copy.addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(snippet.textContent);
    copy.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(snippet);
  }
});
show();
