// The page: what is shown, and what keys and buttons do.
import {Chat} from './chat.js';
import {asMarkdown} from './conversations.js';
import {grow, MessageView} from './message_view.js';
import {ServerClient, ServerError} from './server_client.js';
import {recall, remember, Settings} from './settings.js';

const LOOK_EVERY = 3000;  // milliseconds, for a server that went away
const AT_END = 48;        // pixels: who is nearer to the end than that reads along

const at = (id) => document.getElementById(id);
const settings = new Settings(at('settings').querySelector('form'));
const server = new ServerClient(() => settings.values.api_key);
const chat = new Chat(server, settings, {model: () => at('model').value, changed, grew: drawSoon, removedElsewhere, say, notify,
  answered: learn, unreachable: lookForServer});

let current = '';         // id of the conversation on the page; '': one that has not begun
let properties = {};      // what the server tells of itself
const views = new Map();  // message's id -> MessageView, of the conversation on the page

// ---- Conversations

const addressOf = (id) => (id ? `#c-${id}` : '#');
const addressed = () => (location.hash.startsWith('#c-') ? location.hash.slice('#c-'.length) : '');

let opening = '';  // becomes `current` when it has been read

async function open(id) {
  if (id && !chat.get(id)) {
    notify('There is no such conversation here.', 'It was deleted, or belongs to another browser.');
    id = '';
  }
  opening = id;
  if (id) await chat.open(id);
  if (opening !== id) return;  // another was opened meanwhile
  current = id;
  views.clear();
  at('messages').replaceChildren();
  closeSidebar();
  showList();
  render();
  scrollToEnd();
  if (matchMedia('(hover: hover)').matches) at('input').focus();
}

function send(text) {
  if (!current) {
    current = opening = chat.create(text);
    history.pushState(null, '', addressOf(current));
  }
  chat.ask(current, text, chat.path(current).at(-1)?.id ?? '');
}

function changed(id, {added}) {
  showList();
  if (id !== current) return;
  const follow = added || readsAlong();
  render();
  if (follow) scrollToEnd();
}

function removedElsewhere(id) {
  showList();
  if (id !== current) return;
  location.hash = '';
  notify('This conversation was deleted in another tab.', '');
}

// ---- Drawing

let drawing = false;  // at a frame to come
let quietUntil = 0;   // drawing takes at most a third of the time, however long the answer is

function drawSoon(message) {
  if (drawing || message.conversation !== current) return;
  drawing = true;
  requestAnimationFrame(draw);
}

function draw() {
  const begin = performance.now();
  if (begin < quietUntil) {
    requestAnimationFrame(draw);
    return;
  }
  drawing = false;
  const view = views.get(chat.answering(current)?.id);
  if (!view) return;  // it ended, which has drawn all of it
  const follow = readsAlong();
  view.showText(true);
  if (follow) scrollToEnd();
  quietUntil = performance.now() + 2 * (performance.now() - begin);
}

function render() {
  const conversation = chat.get(current);
  const path = chat.path(current);
  const busy = chat.answering(current);
  const list = at('messages');
  path.forEach((message, i) => {
    if (!views.has(message.id)) views.set(message.id, new MessageView(message));
    const view = views.get(message.id);
    view.show(message, chat.siblings(message).map(({id}) => id), message === busy);
    if (list.children[i] !== view.element) list.insertBefore(view.element, list.children[i] ?? null);
  });
  while (list.children.length > path.length) list.lastChild.remove();

  document.body.classList.toggle('busy', Boolean(busy));
  at('empty').hidden = path.length > 0;
  at('menu').hidden = !conversation;
  at('title').textContent = conversation?.title ?? 'New conversation';
  document.title = conversation ? `${conversation.title} – Outboard` : 'Outboard';
  // A button that goes away must not take the focus with it.
  const leaving = document.activeElement === at(busy ? 'send' : 'stop');
  at('send').hidden = Boolean(busy);
  at('stop').hidden = !busy;
  if (leaving) at(busy ? 'stop' : 'input').focus();
  showStatus();
  watchEnd();
}

let listed = '';  // what the list shows: it stays as it is, and the focus in it, when nothing changed

function showList() {
  const list = chat.list();
  const wanted = JSON.stringify([current, ...list.map(({id, title}) => [id, title])]);
  if (wanted === listed) return;
  listed = wanted;
  const focused = document.activeElement.closest('#list a')?.hash;
  at('list').replaceChildren(...list.map(({id, title}) => {
    const item = document.createElement('li');
    const link = document.createElement('a');
    link.href = addressOf(id);
    link.textContent = link.title = title;
    if (id === current) link.ariaCurrent = 'page';
    item.append(link);
    return item;
  }));
  if (focused) at('list').querySelector(`a[href="${focused}"]`)?.focus();
}

function showStatus() {
  const usage = chat.path(current).findLast((message) => message.usage)?.usage;
  const parts = [properties.device];
  if (usage && properties.context) parts.push(`context ${usage.total_tokens} of ${properties.context}`);
  at('status').textContent = looking ? 'The server does not answer.' : parts.filter(Boolean).join(' · ');
  at('about').textContent = [at('model').value, properties.device].filter(Boolean).join(' on ');
}

const readsAlong = () => {
  const {scrollHeight, scrollTop, clientHeight} = at('scroll');
  return scrollHeight - scrollTop - clientHeight < AT_END;
};
function scrollToEnd() { at('scroll').scrollTop = at('scroll').scrollHeight; }
function watchEnd() { at('latest').hidden = readsAlong(); }

function say(text) { at('announcer').textContent = text; }

function notify(title, text, action) {
  at('notice-title').textContent = title;
  at('notice-text').textContent = text;
  at('notice-action').hidden = !action;
  at('notice-action').textContent = action?.label ?? '';
  at('notice-action').onclick = () => { at('notice').hidden = true; action?.run(); };
  at('notice').hidden = false;
}

// ---- The server

// Of a model that the server loads when it is first asked, the context's size is known only then.
async function learn(model) {
  if (properties.model === model && properties.context) return;
  properties = await server.properties(model).catch(() => properties);  // the next answer asks again
  showStatus();
}

let looking = false;  // for a server that went away

async function connect() {
  try {
    const [models, props] = await Promise.all([server.models(), server.properties()]);
    properties = props;
    at('model').replaceChildren(...models.map((name) => new Option(name, name)));
    const wanted = [settings.values.model, props.model].find((name) => models.includes(name));
    if (wanted) at('model').value = wanted;
    if (models.length === 0)
      notify('The server has no model.', 'Get one with: outboard pull smollm2', {label: 'Try again', run: connect});
    showStatus();
  } catch (error) {
    notify(error.title ?? 'The server could not be asked about its models.', error.message,
      error.status === 401 ? {label: 'Enter the API key', run: enterKey} : {label: 'Try again', run: connect});
    if (error instanceof ServerError && error.status === undefined) lookForServer();
  }
}

async function lookForServer() {
  if (looking || await server.healthy()) return;
  looking = true;
  showStatus();
  do {
    await new Promise((done) => setTimeout(done, LOOK_EVERY));
  } while (!await server.healthy());
  looking = false;
  at('notice').hidden = true;
  say('The server is back.');
  await connect();
}

function enterKey() {
  at('settings').showModal();
  settings.form.elements.api_key.focus();
}

// ---- Buttons and keys

// Asks in a dialog; `value`: with a field for a text. The answer: the text, or true, or undefined.
function confirmed({title, text = '', yes, value}) {
  at('ask-title').textContent = title;
  at('ask-text').textContent = text;
  at('ask-yes').textContent = yes;
  at('ask-field').hidden = value === undefined;
  at('ask-input').value = value ?? '';
  at('ask').returnValue = '';
  at('ask').showModal();
  at('ask-yes').focus();
  if (value !== undefined) at('ask-input').select();
  return new Promise((resolve) => {
    at('ask').addEventListener('close', () =>
      resolve(at('ask').returnValue !== 'yes' ? undefined : value === undefined || at('ask-input').value.trim()), {once: true});
  });
}

function download(name, type, text) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], {type}));
  link.download = name.replace(/[\s\\/:*?"<>|\p{Cc}]+/gu, ' ').trim().slice(0, 80);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const menuActions = {
  async 'rename'(conversation) {
    const title = await confirmed({title: 'Rename the conversation', yes: 'Rename', value: conversation.title});
    if (title) await chat.rename(conversation.id, title);
  },
  'export-markdown'(conversation) {
    download(`${conversation.title}.md`, 'text/markdown', asMarkdown(conversation, chat.path(current)));
  },
  'export-json'(conversation) {
    const all = {format: 'outboard conversation', version: 1, ...conversation, messages: chat.all(conversation.id)};
    download(`${conversation.title}.json`, 'application/json', JSON.stringify(all, null, 2));
  },
  async 'delete'(conversation) {
    if (!await confirmed({title: 'Delete the conversation?', text: `“${conversation.title}” can't be brought back.`, yes: 'Delete'}))
      return;
    await chat.remove(conversation.id);
    location.hash = '';
    showList();
  },
};

const messageActions = {
  'edit': (view) => view.edit(true),
  'cancel-edit': (view) => { view.edit(false); view.find('[data-action=edit]').focus(); },
  'retry': (view) => chat.retry(view.message),
  'copy': (view, button) => copy(view.message.content, button),
  'copy-code': (view, button) => copy(button.closest('.code').querySelector('code').textContent, button),
  'enter-key': enterKey,
  'previous': (view) => step(view.message, -1),
  'next': (view) => step(view.message, 1),
};

function step(message, by) {
  const siblings = chat.siblings(message);
  const next = siblings[(siblings.indexOf(message) + by + siblings.length) % siblings.length];
  chat.choose(next);
  // The same button of the version that is now shown.
  views.get(next.id)?.find(`[data-action=${by < 0 ? 'previous' : 'next'}]`).focus();
}

async function copy(text, button) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
  } else {
    // Over plain HTTP from another machine there is no clipboard but this one.
    const field = document.createElement('textarea');
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
    button.focus();
  }
  say('Copied.');
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

function submit(event) {
  event.preventDefault();
  const text = at('input').value;
  if (!text.trim() || chat.answering(current)) return;
  at('input').value = '';
  grow(at('input'));
  send(text);
}

function submitEdit(event) {
  event.preventDefault();
  const view = views.get(event.target.closest('.message').dataset.id);
  const text = view.find('.editor textarea').value;
  if (!text.trim() || chat.answering(current)) return;
  view.edit(false);
  at('input').focus();
  chat.ask(current, text, view.message.parent);
}

function openSidebar() {
  document.body.classList.add('sidebar-open');
  at('open-sidebar').ariaExpanded = 'true';
  document.querySelector('.main').inert = true;
  at('close-sidebar').focus();
}

function closeSidebar() {
  if (!document.body.classList.contains('sidebar-open')) return;
  document.body.classList.remove('sidebar-open');
  at('open-sidebar').ariaExpanded = 'false';
  document.querySelector('.main').inert = false;
  at('open-sidebar').focus();
}

function enterSends(event) {
  // The Enter that ends the composing of a word in Japanese or Chinese sends nothing.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.target.tagName !== 'TEXTAREA') return;
  event.preventDefault();
  event.target.form.requestSubmit();
}

function pressed(event) {
  if (event.key === 'Escape' && !document.querySelector('dialog[open]')) {
    const edited = event.target.closest?.('.editor');
    if (at('menu').open) {
      at('menu').open = false;
      at('menu').querySelector('summary').focus();
    } else if (document.body.classList.contains('sidebar-open')) {
      closeSidebar();
    } else if (edited) {
      messageActions['cancel-edit'](views.get(edited.closest('.message').dataset.id));
    } else {
      chat.stop(current);
    }
  }
  if ((event.ctrlKey || event.metaKey) && event.shiftKey && event.code === 'KeyO') {
    event.preventDefault();
    location.hash = '';
    at('input').focus();
  }
}

function showTheme() {
  const theme = recall('outboard.theme');
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  at('theme').textContent = isDark() ? 'Light' : 'Dark';
  at('theme').ariaLabel = isDark() ? 'Light colours' : 'Dark colours';
}
const systemDark = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => (recall('outboard.theme') ?? (systemDark.matches ? 'dark' : 'light')) === 'dark';

function switchTheme() {
  const theme = isDark() ? 'light' : 'dark';
  // Who wants what the system wants goes along with it from then on.
  remember('outboard.theme', theme === (systemDark.matches ? 'dark' : 'light') ? null : theme);
  showTheme();
}

function listen() {
  at('composer').addEventListener('submit', submit);
  at('composer').addEventListener('keydown', enterSends);
  at('input').addEventListener('input', () => grow(at('input')));
  at('stop').addEventListener('click', () => chat.stop(current));
  at('model').addEventListener('change', () => { settings.set('model', at('model').value); showStatus(); });
  at('messages').addEventListener('click', ({target}) => {
    const button = target.closest('[data-action]');
    if (button) messageActions[button.dataset.action](views.get(button.closest('.message').dataset.id), button);
  });
  at('messages').addEventListener('submit', submitEdit);
  at('messages').addEventListener('keydown', enterSends);
  at('messages').addEventListener('input', ({target}) => grow(target));
  at('menu').addEventListener('click', ({target}) => {
    const action = target.dataset.action;
    if (!action) return;
    at('menu').open = false;
    at('menu').querySelector('summary').focus();
    menuActions[action](chat.get(current));
  });
  at('scroll').addEventListener('scroll', watchEnd, {passive: true});
  at('latest').addEventListener('click', () => { scrollToEnd(); at('input').focus(); });
  at('open-sidebar').addEventListener('click', openSidebar);
  at('close-sidebar').addEventListener('click', closeSidebar);
  at('backdrop').addEventListener('click', closeSidebar);
  at('new').addEventListener('click', () => { closeSidebar(); at('input').focus(); });
  at('open-settings').addEventListener('click', () => at('settings').showModal());
  at('reset-settings').addEventListener('click', () => settings.reset());
  at('settings').addEventListener('close', () => { if (!at('model').value) connect(); });
  at('ask-no').addEventListener('click', () => at('ask').close());
  at('notice-close').addEventListener('click', () => { at('notice').hidden = true; });
  at('theme').addEventListener('click', switchTheme);
  document.querySelector('.skip').addEventListener('click', (event) => { event.preventDefault(); at('input').focus(); });
  document.addEventListener('keydown', pressed);
  document.addEventListener('click', ({target}) => { if (!at('menu').contains(target)) at('menu').open = false; });
  window.addEventListener('hashchange', () => { if (addressed() !== opening) open(addressed()); });
  window.addEventListener('storage', showTheme);
  systemDark.addEventListener('change', showTheme);
}

showTheme();
listen();
connect();
await chat.begin();
await open(addressed());
