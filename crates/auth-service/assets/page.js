// What is nicer with a script. Every page works without: forms are sent, and answers are pages.

// Times in the reader's own zone and language.
for (const time of document.querySelectorAll('time[datetime]')) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.getTime())) {
    time.title = time.textContent;
    time.textContent = at.toLocaleString(document.documentElement.lang, { dateStyle: 'medium', timeStyle: 'short' });
  }
}

// Where the lists of pages are pushed along, the one that is shown is in sight.
for (const link of document.querySelectorAll('nav [aria-current="page"]')) {
  const list = link.closest('nav');
  list.scrollLeft = link.offsetLeft - list.offsetLeft - (list.clientWidth - link.offsetWidth) / 2;
}

// The first field that is wrong, else the first that is empty on pages that are one form.
const wrong = document.querySelector('[aria-invalid="true"]');
const first = document.querySelector('main.narrow input:not([type="hidden"])');
(wrong ?? (first && first.value === '' ? first : null))?.focus();

// A file into the text field that is sent.
for (const input of document.querySelectorAll('input[data-into]')) {
  input.closest('[data-file]').hidden = false;
  input.addEventListener('change', async () => {
    const target = document.getElementById(input.dataset.into);
    if (input.files.length === 1) {
      target.value = await input.files[0].text();
      target.focus();
    }
  });
}

// What is shown once can be copied.
for (const button of document.querySelectorAll('button[data-copy]')) {
  const field = document.getElementById(button.dataset.copy);
  field.addEventListener('focus', () => field.select());
  button.hidden = !navigator.clipboard;
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(field.value);
    button.textContent = button.dataset.copied;
  });
}

// A form is sent once, however often the button is pressed.
for (const form of document.querySelectorAll('form[method="post"]')) {
  form.addEventListener('submit', (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
    } else if (!form.action.endsWith('/download')) {
      form.dataset.sent = 'yes';
    }
  });
}
addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('form[data-sent]')) {
    delete form.dataset.sent;
  }
});

// What goes on in steps goes on by itself.
document.querySelector('form[data-go-on]')?.requestSubmit();

for (const button of document.querySelectorAll('[data-print]')) {
  button.hidden = false;
  button.addEventListener('click', () => print());
}
