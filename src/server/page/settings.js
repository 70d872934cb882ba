// What the person set, kept in localStorage, and what of it goes into a request.

const KEY = 'outboard.settings';
const NUMBERS = ['temperature', 'top_p', 'top_k', 'min_p', 'max_tokens'];

// Browsers may forbid storage, or have no room: then settings last as long as the page.
const unkept = new Map();

export function recall(key) {
  try {
    return localStorage.getItem(key) ?? unkept.get(key) ?? null;
  } catch {
    return unkept.get(key) ?? null;
  }
}

export function remember(key, value) {
  unkept.set(key, value);
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // As said above.
  }
}

export class Settings {
  // `form` has a field for each setting, by its name.
  constructor(form) {
    this.form = form;
    this.load();
    form.addEventListener('input', () => this.save());
    window.addEventListener('storage', ({key}) => key === KEY && this.load());
  }

  load() {
    this.values = JSON.parse(recall(KEY) ?? '{}');
    for (const field of this.fields()) field.value = this.values[field.name] ?? '';
  }

  save() {
    for (const field of this.fields()) this.values[field.name] = field.validity.valid ? field.value : '';
    this.write();
  }

  // For what has no field in the form.
  set(name, value) {
    this.values[name] = value;
    this.write();
  }

  reset() {
    this.values = {};
    this.write();
    this.load();
  }

  write() { remember(KEY, JSON.stringify(this.values)); }
  fields() { return [...this.form.elements].filter((element) => element.name); }

  // The request for an answer to these messages.
  request(path, model) {
    const {system, thinking} = this.values;
    const body = {model, messages: []};
    if (system?.trim()) body.messages.push({role: 'system', content: system});
    for (const {role, content, reasoning} of path) {
      if (role === 'user') body.messages.push({role, content});
      // Answers that failed before their first word are no part of the conversation.
      else if (content) body.messages.push({role, content, ...(reasoning && {reasoning_content: reasoning})});
    }
    for (const name of NUMBERS) if (this.values[name]) body[name] = Number(this.values[name]);
    // OpenAI's effort, and the template variable that most models' templates look at, as llama.cpp's
    // server takes them.
    if (thinking === 'off') body.reasoning_effort = 'none';
    else if (thinking && thinking !== 'on') body.reasoning_effort = thinking;
    if (thinking) body.chat_template_kwargs = {enable_thinking: thinking !== 'off'};
    return body;
  }
}
