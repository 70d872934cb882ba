// The page: what is shown, what keys and buttons do, and how an answer comes in.
import {asMarkdown, Conversations, newId, pathOf} from './conversations.js';
import {grow, MessageView} from './message_view.js';
import {ServerClient, ServerError} from './server_client.js';
import {recall, remember, Settings} from './settings.js';

const SAVE_EVERY = 700;   // milliseconds, while an answer comes in
const LOOK_EVERY = 3000;  // milliseconds, for a server that went away
const AT_END = 48;        // pixels: who is nearer to the end than that reads along

const at = (id) => document.getElementById(id);
const settings = new Settings(at('settings').querySelector('form'));
const server = new ServerClient(() => settings.values.api_key);
const store = new Conversations(changedElsewhere);

let current = '';               // id of the conversation on the page; '': one that has not begun
let properties = {};            // what the server tells of itself
const conversations = new Map();  // by id, in no order
const messages = new Map();     // conversation's id -> its messages, oldest first, as far as opened here
const choices = new Map();      // conversation's id -> what was chosen in this tab, which others don't change
const running = new Map();      // conversation's id -> {message, controller} of the answer that comes in
const views = new Map();        // message's id -> MessageView, of the conversation on the page
const written = new Set();      // ids of messages that this tab wrote: what it has of them is the newest

// ---- Conversations

// Waits for the store. What it can't do is told; the page goes on with what it has in memory.
async function kept(promise, otherwise) {
  try {
    return await promise;
  } catch (error) {
    const full = error?.name === 'QuotaExceededError';
    notify(full ? 'The browser\'s storage is full.' : 'The browser does not keep this.',
      `${full ? 'What is new is not kept: export this conversation, or delete others.' :
        'Conversations last as long as this page is open; export what you need.'} (${error?.message ?? error})`);
    return otherwise;
  }
}

async function readList() {
  for (const conversation of await kept(store.list(), [])) adopt(conversation);
  showList();
}

function adopt(conversation) {
  conversations.set(conversation.id, {...conversation, chosen: {...conversation.chosen, ...choices.get(conversation.id)}});
}

async function readMessages(id) {
  const known = messages.get(id) ?? [];
  const stored = await kept(store.messages(id), []);
  const own = known.filter((message) => written.has(message.id));
  const byId = new Map([...stored, ...own].map((message) => [message.id, message]));
  messages.set(id, [...byId.values()].sort((a, b) => a.created - b.created));
}

function changedElsewhere({conversation: id, message, removed}) {
  if (removed) {
    forget(id);
    if (current === id) {
      location.hash = '';
      notify('This conversation was deleted in another tab.', '');
    }
    showList();
    return;
  }
  kept((async () => {
    const conversation = await store.get(id);
    if (!conversation) return;
    adopt(conversation);
    if (message && messages.has(id)) await readMessages(id);
    showList();
    if (current === id) render();
  })());
}

function forget(id) {
  running.get(id)?.controller.abort();
  conversations.delete(id);
  messages.delete(id);
}

async function open(id) {
  if (id && !conversations.has(id)) {
    notify('There is no such conversation here.', 'It was deleted, or belongs to another browser.');
    id = '';
  }
  current = id;
  views.clear();
  at('messages').replaceChildren();
  if (id) await readMessages(id);
  if (current !== id) return;  // another was opened meanwhile
  closeSidebar();
  showList();
  render();
  at('scroll').scrollTop = at('scroll').scrollHeight;
  if (matchMedia('(hover: hover)').matches) at('input').focus();
}

const addressOf = (id) => (id ? `#c-${id}` : '#');
function openAddressed() {
  if (location.hash && !location.hash.startsWith('#c-')) return;
  const id = location.hash.slice('#c-'.length);
  if (id !== current) open(id);
}

const currentPath = () => pathOf(messages.get(current) ?? [], conversations.get(current)?.chosen ?? {});

async function change(id, fields) {
  Object.assign(conversations.get(id), fields);
  showList();
  render();
  await kept(store.update(id, fields));
}

async function choose(message) {
  choices.set(current, {...choices.get(current), [message.parent]: message.id});
  await change(current, {chosen: {...conversations.get(current).chosen, [message.parent]: message.id}});
}

// ---- Sending and answering

async function send(text) {
  if (!current) {
    const now = Date.now();
    const title = text.trim().split('\n')[0].slice(0, 80);
    const conversation = {id: newId(), title, created: now, updated: now, chosen: {}};
    conversations.set(conversation.id, conversation);
    messages.set(conversation.id, []);
    current = conversation.id;
    history.pushState(null, '', addressOf(current));
    await kept(store.add(conversation));
  }
  await ask(text, currentPath().at(-1)?.id ?? '');
}

async function ask(text, parent) {
  const question = newMessage({parent, role: 'user', content: text, state: 'done'});
  await add(question);
  await answer(question);
}

const newMessage = (fields) => ({id: newId(), conversation: current, created: Date.now(), ...fields});

// Adds a message to the current conversation, or writes it anew.
async function add(message) {
  const id = current;
  const chosen = {[message.parent]: message.id};
  const conversation = conversations.get(id);
  if (!messages.get(id).includes(message)) messages.get(id).push(message);
  written.add(message.id);
  choices.set(id, {...choices.get(id), ...chosen});
  Object.assign(conversation, {updated: Date.now(), chosen: {...conversation.chosen, ...chosen}});
  showList();
  render();
  scrollToEnd();
  await kept(store.put(message, {updated: conversation.updated, chosen}));
}

// Asks for an answer to `question`, a message of the current conversation, and shows it as it comes.
// `again`: an answer that failed before its first word; it is written anew.
async function answer(question, again) {
  const id = current;
  const path = currentPath();
  const history = path.slice(0, path.indexOf(question) + 1);
  const record = again ?? newMessage({parent: question.id, role: 'assistant'});
  Object.assign(record, {content: '', reasoning: '', model: at('model').value, state: 'writing', error: undefined});
  const controller = new AbortController();
  running.set(id, {message: record, controller});
  announce('The answer begins.');
  await add(record);
  let saved = performance.now();
  try {
    for await (const part of server.answer(settings.request(history, record.model), controller.signal)) {
      if (part.content) record.content += part.content;
      if (part.reasoning) record.reasoning += part.reasoning;
      if (part.finish) record.state = part.finish === 'length' ? 'cut' : 'done';
      if (part.usage) record.usage = part.usage;
      if (part.timings) record.timings = part.timings;
      drawSoon(record);
      if (performance.now() - saved > SAVE_EVERY) {
        saved = performance.now();
        kept(store.put({...record, state: 'writing'}));
      }
    }
    if (record.state === 'writing') record.state = 'done';
  } catch (error) {
    if (error.name === 'AbortError') {
      record.state = 'stopped';
    } else {
      record.state = 'failed';
      record.error = {title: error.title ?? 'This page made a mistake', text: error.message, status: error.status};
      if (!(error instanceof ServerError)) console.error(error);
      else if (error.status === undefined) lookForServer();
    }
  }
  running.delete(id);
  announce({done: 'The answer is complete.', cut: 'The answer was cut off.', stopped: 'The answer was stopped.',
    failed: `${record.error?.title}. ${record.error?.text}`}[record.state]);
  if (current === id) {
    const follow = readsAlong();
    render();
    if (follow) scrollToEnd();
  }
  if (conversations.has(id)) await kept(store.put(record));
}

function retry(message) {
  const question = messages.get(current).find(({id}) => id === message.parent);
  if (question) answer(question, message.state === 'failed' && !message.content && !message.reasoning ? message : undefined);
}

function stop() { running.get(current)?.controller.abort(); }

// ---- Drawing

let drawing;        // the record to draw at the next frame
let quietUntil = 0;  // drawing takes at most a third of the time, however long the answer is

function drawSoon(record) {
  if (drawing) {
    drawing = record.conversation === current ? record : drawing;
    return;
  }
  if (record.conversation !== current) return;
  drawing = record;
  requestAnimationFrame(function draw() {
    const begin = performance.now();
    if (begin < quietUntil) {
      requestAnimationFrame(draw);
      return;
    }
    const view = views.get(drawing.id), here = running.has(drawing.conversation);
    drawing = undefined;
    if (!view || !here) return;
    const follow = readsAlong();
    view.showText(true);
    if (follow) scrollToEnd();
    quietUntil = performance.now() + 2 * (performance.now() - begin);
  });
}

function render() {
  const conversation = conversations.get(current);
  const path = currentPath();
  const all = messages.get(current) ?? [];
  const busy = running.get(current);
  const list = at('messages');
  path.forEach((message, i) => {
    if (!views.has(message.id)) views.set(message.id, new MessageView(message));
    const view = views.get(message.id);
    const siblings = all.filter(({parent}) => parent === message.parent).map(({id}) => id);
    view.show(message, siblings, busy?.message === message);
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

function showList() {
  const sorted = [...conversations.values()].sort((a, b) => b.updated - a.updated);
  at('list').replaceChildren(...sorted.map(({id, title}) => {
    const item = document.createElement('li');
    const link = document.createElement('a');
    link.href = addressOf(id);
    link.textContent = title;
    link.title = title;
    if (id === current) link.ariaCurrent = 'page';
    item.append(link);
    return item;
  }));
}

function showStatus() {
  const usage = currentPath().findLast((message) => message.usage)?.usage;
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

function announce(text) { at('announcer').textContent = text; }

function notify(title, text, action) {
  at('notice-title').textContent = title;
  at('notice-text').textContent = text;
  at('notice-action').hidden = !action;
  at('notice-action').textContent = action?.label ?? '';
  at('notice-action').onclick = () => { at('notice').hidden = true; action?.run(); };
  at('notice').hidden = false;
}

// ---- The server

let looking = false;  // for a server that went away

async function connect() {
  try {
    const [models, props] = await Promise.all([server.models(), server.properties()]);
    properties = props;
    at('model').replaceChildren(...models.map((name) => new Option(name, name)));
    if (models.includes(settings.values.model)) at('model').value = settings.values.model;
    showStatus();
  } catch (error) {
    notify(error.title ?? 'The server could not be asked about its models.', error.message,
      error.status === 401 ? {label: 'Enter the API key', run: enterKey} : {label: 'Try again', run: connect});
    if (error instanceof ServerError && error.status === undefined) lookForServer();
  }
}

async function lookForServer() {
  if (looking) return;
  looking = true;
  showStatus();
  do {
    await new Promise((done) => setTimeout(done, LOOK_EVERY));
  } while (!await server.healthy());
  looking = false;
  at('notice').hidden = true;
  announce('The server is back.');
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
    if (title) await change(conversation.id, {title});
  },
  'export-markdown'(conversation) {
    download(`${conversation.title}.md`, 'text/markdown', asMarkdown(conversation, currentPath()));
  },
  'export-json'(conversation) {
    const all = {format: 'outboard conversation', version: 1, ...conversation, messages: messages.get(conversation.id)};
    download(`${conversation.title}.json`, 'application/json', JSON.stringify(all, null, 2));
  },
  async 'delete'(conversation) {
    if (!await confirmed({title: 'Delete the conversation?', text: `“${conversation.title}” can't be brought back.`, yes: 'Delete'}))
      return;
    forget(conversation.id);
    await kept(store.remove(conversation.id));
    location.hash = '';
    showList();
  },
};

const messageActions = {
  'edit': (view) => view.edit(true),
  'cancel-edit': (view) => { view.edit(false); view.find('[data-action=edit]').focus(); },
  'retry': (view) => retry(view.message),
  'copy': (view, button) => copy(view.message.content, button),
  'copy-code': (view, button) => copy(button.closest('.code').querySelector('code').textContent, button),
  'enter-key': enterKey,
  'previous': (view) => step(view.message, -1),
  'next': (view) => step(view.message, 1),
};

function step(message, by) {
  const siblings = messages.get(current).filter(({parent}) => parent === message.parent);
  const next = siblings[(siblings.indexOf(message) + by + siblings.length) % siblings.length];
  choose(next);
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
  announce('Copied.');
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

function submit(event) {
  event.preventDefault();
  const text = at('input').value;
  if (!text.trim() || running.has(current)) return;
  at('input').value = '';
  grow(at('input'));
  send(text);
}

function submitEdit(event) {
  event.preventDefault();
  const view = views.get(event.target.closest('.message').dataset.id);
  const text = view.find('.editor textarea').value;
  if (!text.trim() || running.has(current)) return;
  view.edit(false);
  at('input').focus();
  ask(text, view.message.parent);
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
      stop();
    }
  }
  if ((event.ctrlKey || event.metaKey) && event.shiftKey && event.code === 'KeyO') {
    event.preventDefault();
    location.hash = '';
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
  at('stop').addEventListener('click', stop);
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
    menuActions[action](conversations.get(current));
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
  window.addEventListener('hashchange', openAddressed);
  window.addEventListener('storage', showTheme);
  systemDark.addEventListener('change', showTheme);
}

showTheme();
listen();
connect();
await kept(store.open());
await readList();
await open(location.hash.startsWith('#c-') ? location.hash.slice('#c-'.length) : '');
