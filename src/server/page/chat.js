// What is said: the conversations of this tab, and the answers that come in. Nothing here knows what a page
// looks like; a listener is told what happens.
import {Conversations, newId, pathOf} from './conversations.js';
import {ServerError} from './server_client.js';

const SAVE_EVERY = 700;  // milliseconds, while an answer comes in

export class Chat {
  // The listener:
  //   model()                the name of the model to ask
  //   changed(id, {added})   a conversation is another than before; added: this tab has put a message at its end
  //   answered(model)        that model has answered
  //   grew(message)          more of an answer has come
  //   removedElsewhere(id)   by another tab
  //   say(text)              for those who can't see what happens
  //   notify(title, text)    what went wrong, outside of an answer
  //   unreachable()          the server does not answer
  constructor(server, settings, listener) {
    this.server = server;
    this.settings = settings;
    this.listener = listener;
    this.store = new Conversations((news) => this.changedElsewhere(news));
    this.conversations = new Map();  // by id
    this.messages = new Map();  // conversation's id -> its messages, oldest first, as far as opened here
    this.choices = new Map();   // conversation's id -> what was chosen in this tab, which others don't change
    this.running = new Map();   // conversation's id -> {message, controller} of the answer that comes in
    this.unsaved = new Set();   // ids of messages of which this tab has more than the store
    this.told = new Set();
  }

  async begin() {
    await this.kept(this.store.open());
    for (const conversation of await this.kept(this.store.list()) ?? []) this.adopt(conversation);
  }

  // ---- What there is

  // Newest first.
  list() { return [...this.conversations.values()].sort((a, b) => b.updated - a.updated); }
  get(id) { return this.conversations.get(id); }
  all(id) { return this.messages.get(id) ?? []; }
  path(id) { return pathOf(this.all(id), this.get(id)?.chosen ?? {}); }
  siblings(message) { return this.all(message.conversation).filter(({parent}) => parent === message.parent); }
  answering(id) { return this.running.get(id)?.message; }

  // ---- Conversations

  // Reads a conversation's messages; must come before what is done with them.
  async open(id) {
    const stored = await this.kept(this.store.messages(id)) ?? [];
    const own = this.all(id).filter((message) => this.unsaved.has(message.id));
    const byId = new Map([...stored, ...own].map((message) => [message.id, message]));
    this.messages.set(id, [...byId.values()].sort((a, b) => a.created - b.created));
  }

  // A new conversation that begins with `text`; its id.
  create(text) {
    const now = Date.now();
    const conversation = {id: newId(), title: text.trim().split('\n')[0].slice(0, 80), created: now, updated: now, chosen: {}};
    this.conversations.set(conversation.id, conversation);
    this.messages.set(conversation.id, []);
    this.kept(this.store.add(conversation));
    return conversation.id;
  }

  rename(id, title) { return this.change(id, {title}); }

  // Shows this version of a message.
  choose({id, conversation, parent}) { return this.change(conversation, this.chosen(conversation, {[parent]: id})); }

  async remove(id) {
    this.forget(id);
    await this.kept(this.store.remove(id));
  }

  forget(id) {
    this.stop(id);
    this.conversations.delete(id);
    this.messages.delete(id);
  }

  async change(id, fields) {
    Object.assign(this.get(id), fields);
    this.listener.changed(id, {});
    await this.kept(this.store.update(id, fields));
  }

  chosen(id, choice) {
    this.choices.set(id, {...this.choices.get(id), ...choice});
    return {chosen: {...this.get(id).chosen, ...choice}};
  }

  adopt(conversation) {
    const chosen = {...conversation.chosen, ...this.choices.get(conversation.id)};
    this.conversations.set(conversation.id, {...conversation, chosen});
  }

  async changedElsewhere({conversation: id, message, removed}) {
    if (removed) {
      this.forget(id);
      this.listener.removedElsewhere(id);
      return;
    }
    const conversation = await this.kept(this.store.get(id));
    if (!conversation) return;
    this.adopt(conversation);
    if (message && this.messages.has(id)) await this.open(id);
    this.listener.changed(id, {});
  }

  // Waits for the store. What it can't do is told once; the page goes on with what it has in memory.
  async kept(promise) {
    try {
      return await promise;
    } catch (error) {
      const full = error?.name === 'QuotaExceededError';
      const title = full ? 'The browser\'s storage is full.' : 'The browser does not keep this.';
      if (!this.told.has(title))
        this.listener.notify(title, `${full ? 'What is new is not kept: export this conversation, or delete others.' :
          'Conversations last as long as this page is open; export what you need.'} (${error?.message || error})`);
      this.told.add(title);
      return undefined;
    }
  }

  // ---- Messages

  // Puts a message of the person's after `parent` (its id; '': at the beginning) and asks for an answer.
  ask(id, text, parent) {
    const question = this.newMessage(id, {parent, role: 'user', content: text, state: 'done'});
    this.add(question);
    return this.answer(question);
  }

  // Another answer in place of this one. One that failed before its first word is written anew.
  retry(message) {
    const question = this.all(message.conversation).find(({id}) => id === message.parent);
    const empty = message.state === 'failed' && !message.content && !message.reasoning;
    return this.answer(question, empty ? message : this.newMessage(message.conversation, {parent: message.parent, role: 'assistant'}));
  }

  stop(id) { this.running.get(id)?.controller.abort(); }

  newMessage(conversation, fields) { return {id: newId(), conversation, created: Date.now(), ...fields}; }

  // Adds a message to its conversation, or begins it anew.
  add(message) {
    const id = message.conversation;
    const choice = {[message.parent]: message.id};
    const updated = Date.now();
    if (!this.all(id).includes(message)) this.all(id).push(message);
    Object.assign(this.get(id), {updated, ...this.chosen(id, choice)});
    this.save(message, {updated, chosen: choice});
    this.listener.changed(id, {added: true});
  }

  async save(message, fields) {
    this.unsaved.add(message.id);
    const copy = {...message};
    const saved = await this.kept(this.store.put(copy, fields).then(() => true));
    // An answer that has grown meanwhile is still ahead of the store.
    if (saved && copy.state !== 'writing') this.unsaved.delete(message.id);
  }

  async answer(question, record = this.newMessage(question.conversation, {parent: question.id, role: 'assistant'})) {
    const id = question.conversation;
    const path = this.path(id);
    const model = this.listener.model();
    const request = this.settings.request(path.slice(0, path.indexOf(question) + 1), model);
    Object.assign(record, {content: '', reasoning: '', model, state: 'writing', error: undefined});
    const controller = new AbortController();
    this.running.set(id, {message: record, controller});
    this.listener.say('The answer begins.');
    this.add(record);
    let finish;
    let saved = performance.now();
    try {
      for await (const part of this.server.answer(request, controller.signal)) {
        record.content += part.content ?? '';
        record.reasoning += part.reasoning ?? '';
        record.usage = part.usage ?? record.usage;
        record.timings = part.timings ?? record.timings;
        finish = part.finish ?? finish;
        this.listener.grew(record);
        if (performance.now() - saved < SAVE_EVERY) continue;
        saved = performance.now();
        this.save(record);
      }
      record.state = finish === 'length' ? 'cut' : 'done';
    } catch (error) {
      this.fail(record, error);
    }
    this.running.delete(id);
    if (record.usage) this.listener.answered(record.model);
    if (!this.conversations.has(id)) return;  // it was deleted meanwhile
    this.listener.say({done: 'The answer is complete.', cut: 'The answer was cut off.', stopped: 'The answer was stopped.',
      failed: `${record.error?.title}. ${record.error?.text}`}[record.state]);
    this.listener.changed(id, {});
    await this.save(record);
  }

  fail(record, error) {
    if (error.name === 'AbortError') {
      record.state = 'stopped';
      return;
    }
    record.state = 'failed';
    record.error = {title: error.title ?? 'This page made a mistake', text: error.message, status: error.status};
    if (!(error instanceof ServerError)) console.error(error);
    else if (error.status === undefined) this.listener.unreachable();
  }
}
