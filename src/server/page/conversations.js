// Conversations, kept in this browser (IndexedDB). A message is a record of its own and is written by
// the tab that made it; of a conversation's record a tab changes only the fields that it means, within a
// transaction. So two tabs at once add to each other's conversations and lose nothing of them.
//
// A conversation: {id, title, created, updated, chosen}. Its messages are a tree: `parent` is a
// message's id, or '' for the first; an edit or a retry adds a sibling. `chosen` maps a parent to the
// child that is shown. A message:
//   {id, conversation, parent, created, role ("user" or "assistant"), content, reasoning, model,
//    state ("writing", "done", "stopped", "cut", "failed"), error {title, text, status}, usage, timings}

export function newId() {
  // Not randomUUID: over plain HTTP, from another machine of the house, browsers do not have it.
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Conversations {
  // `changed({conversation, message, removed})` is called for what other tabs did: ids.
  constructor(changed) {
    this.channel = new BroadcastChannel('outboard.conversations');
    this.channel.onmessage = ({data}) => changed(data);
  }

  // Where that fails, all else fails with the same words.
  async open() {
    this.opened = this.openDatabase();
    await this.opened;
  }

  async openDatabase() {
    const request = indexedDB.open('outboard', 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('conversations', {keyPath: 'id'});
      request.result.createObjectStore('messages', {keyPath: 'id'}).createIndex('conversation', 'conversation');
    };
    return settled(request);
  }

  // In no order, as are the messages.
  async list() { return settled((await this.reading('conversations')).getAll()); }
  async get(id) { return settled((await this.reading('conversations')).get(id)); }
  async messages(id) { return settled((await this.reading('messages')).index('conversation').getAll(id)); }

  async reading(store) { return (await this.opened).transaction(store).objectStore(store); }

  add(conversation) {
    return this.write({conversation: conversation.id}, (stores) => stores.conversations.add(conversation));
  }

  // Sets fields; `chosen` is merged. Where another tab has deleted the conversation it stays deleted.
  update(id, fields) {
    return this.change(id, {}, fields);
  }

  // Writes a message, if its conversation is still there.
  put(message, fields = {}) {
    return this.change(message.conversation, {message: message.id}, fields,
      (stores) => stores.messages.put(message));
  }

  change(id, news, fields, then = () => {}) {
    return this.write({conversation: id, ...news}, (stores) => {
      stores.conversations.get(id).onsuccess = ({target: {result}}) => {
        if (!result) return;
        stores.conversations.put({...result, ...fields, chosen: {...result.chosen, ...fields.chosen}});
        then(stores);
      };
    });
  }

  remove(id) {
    return this.write({conversation: id, removed: true}, (stores) => {
      stores.conversations.delete(id);
      stores.messages.index('conversation').getAllKeys(id).onsuccess = ({target: {result}}) => {
        for (const key of result) stores.messages.delete(key);
      };
    });
  }

  // Runs `work` in a transaction, and tells the other tabs when it is through. Throws what went wrong, for
  // instance QuotaExceededError.
  async write(news, work) {
    const transaction = (await this.opened).transaction(['conversations', 'messages'], 'readwrite');
    work({conversations: transaction.objectStore('conversations'), messages: transaction.objectStore('messages')});
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    this.channel.postMessage(news);
  }
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

// The messages that are shown, from the first to the last.
export function pathOf(messages, chosen) {
  const path = [];
  for (let parent = ''; ;) {
    const siblings = messages.filter((message) => message.parent === parent);
    if (siblings.length === 0) return path;
    const message = siblings.find(({id}) => id === chosen[parent]) ?? siblings.at(-1);
    path.push(message);
    parent = message.id;
  }
}

export function asMarkdown(conversation, path) {
  const parts = [`# ${conversation.title}`];
  for (const message of path) {
    parts.push(`## ${message.role === 'user' ? 'You' : message.model || 'Answer'}`);
    if (message.reasoning) parts.push(message.reasoning.trim().replace(/^/gm, '> '));
    parts.push(message.content.trim());
  }
  return parts.join('\n\n') + '\n';
}
