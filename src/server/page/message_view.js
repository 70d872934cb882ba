// One message on the page.
import {MarkdownView} from './markdown.js';

export class MessageView {
  constructor(message) {
    const template = document.getElementById(`${message.role}-template`);
    this.element = template.content.firstElementChild.cloneNode(true);
    this.element.dataset.id = message.id;
    this.message = message;
    if (message.role === 'user') return;
    this.markdown = new MarkdownView(this.find('.body'));
    this.reasoning = new MarkdownView(this.find('.reasoning'));
    // Folded thinking is drawn when somebody looks.
    this.find('.thinking').addEventListener('toggle', () => this.showReasoning());
  }

  find(selector) { return this.element.querySelector(selector); }

  // `siblings`: ids of all versions of this message. `here`: this tab is writing it.
  show(message, siblings, here) {
    this.message = message;
    const branches = this.find('.branches');
    branches.hidden = siblings.length < 2;
    branches.querySelector('.place').textContent = `${siblings.indexOf(message.id) + 1}/${siblings.length}`;
    if (message.role === 'user') {
      if (this.find('.body').textContent !== message.content) this.find('.body').textContent = message.content;
      return;
    }
    this.find('.who').textContent = message.model || 'Answer';
    this.showText(here);
    this.showTrouble(here);
    this.find('.stats').textContent = statsOf(message);
    this.find('.actions').hidden = here;
    this.find('.actions [data-action=copy]').hidden = !message.content;
  }

  // What has come so far of an answer.
  showText(here) {
    const {content, reasoning} = this.message;
    this.markdown.show(content);
    this.find('.thinking').hidden = !reasoning;
    this.find('.thinking summary').textContent = here && !content ? 'Thinking …' : 'Thinking';
    this.find('.waiting').hidden = !here || Boolean(content || reasoning);
    this.showReasoning();
  }

  showReasoning() {
    if (this.find('.thinking').open) this.reasoning.show(this.message.reasoning);
  }

  showTrouble(here) {
    const {state, error} = this.message;
    const trouble = here ? undefined : {
      failed: error,
      stopped: {title: 'Stopped.', text: ''},
      cut: {title: 'Cut off.', text: 'The answer reached the greatest length that the settings or the context allow.'},
      writing: {title: 'Not finished.', text: 'Another tab is still writing this answer, or was closed before its end.'},
    }[state];
    const box = this.find('.trouble');
    box.hidden = !trouble;
    this.find('.actions [data-action=retry]').hidden = Boolean(trouble) && state !== 'stopped' && state !== 'cut';
    if (!trouble) return;
    box.classList.toggle('failed', state === 'failed');
    this.find('.trouble-title').textContent = trouble.title;
    this.find('.trouble-text').textContent = trouble.text;
    this.find('.trouble [data-action=retry]').hidden = state === 'stopped' || state === 'cut';
    this.find('[data-action=enter-key]').hidden = trouble.status !== 401;
  }

  // Editing a message of the person's.
  edit(on) {
    const field = this.find('.editor textarea');
    this.find('.body').hidden = on;
    this.find('.message > .actions').hidden = on;
    this.find('.editor').hidden = !on;
    if (!on) return;
    field.value = this.message.content;
    grow(field);
    field.focus();
  }
}

export function statsOf({usage, timings}) {
  const parts = [];
  if (usage) parts.push(`${usage.completion_tokens} tokens`);
  if (timings?.predicted_per_second) parts.push(`${timings.predicted_per_second.toFixed(1)} tokens/s`);
  return parts.join(' · ');
}

// As high as its text; the style sheet says how high at most.
export function grow(field) {
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight + 2}px`;
}
