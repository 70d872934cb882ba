// Talks to the server that this page came from: OpenAI's chat completions with llama.cpp's `timings`, and
// what the server tells of itself.

// The server's own words for what it refused, or what became of the connection.
export class ServerError extends Error {
  constructor(title, message, status) {
    super(message);
    this.title = title;
    this.status = status;  // of HTTP; undefined: the connection failed
  }
}

const gone = () => new ServerError('The server does not answer',
  `Nothing came back from ${location.origin}. Is it still running? What is here is kept.`);

export class ServerClient {
  constructor(apiKey) {
    this.apiKey = apiKey;  // a function: the key may change
  }

  async models() { return (await this.get('/v1/models')).data.map((model) => model.id); }

  // Of a model, which the server may have to load for that; without one, of the server and the model that
  // it was started with, if it was.
  properties(model) { return this.get(model ? `/props?model=${encodeURIComponent(model)}` : '/props'); }

  // Whether the server is there; never throws.
  async healthy() {
    try {
      return (await fetch('/health', {cache: 'no-store'})).ok;
    } catch {
      return false;  // that is the answer
    }
  }

  async get(path) { return (await this.request(path, {cache: 'no-store'})).json(); }

  async request(path, options) {
    const headers = {'Content-Type': 'application/json'};
    if (this.apiKey()) headers.Authorization = `Bearer ${this.apiKey()}`;
    let response;
    try {
      response = await fetch(path, {...options, headers});
    } catch (error) {
      throw error.name === 'AbortError' ? error : gone();
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }

  // Streams an answer: yields {reasoning}, {content}, and {finish}, {usage}, {timings} as they come. Throws
  // ServerError, or AbortError when `signal` says so.
  async * answer(body, signal) {
    const response = await this.request('/v1/chat/completions', {
      method: 'POST', signal,
      body: JSON.stringify({...body, stream: true, stream_options: {include_usage: true}})});
    let finished = false;
    for await (const data of events(response.body)) {
      if (data === '[DONE]') return;
      let chunk;
      try {
        chunk = JSON.parse(data);
      } catch {
        throw new ServerError('The answer could not be read', `The server sent this where JSON was expected: ${data.slice(0, 200)}`);
      }
      if (chunk.error) throw new ServerError('The server reports an error', wordsOf(chunk), chunk.error.code);
      const choice = chunk.choices?.[0];
      if (choice?.delta?.reasoning_content) yield {reasoning: choice.delta.reasoning_content};
      if (choice?.delta?.content) yield {content: choice.delta.content};
      if (choice?.finish_reason) {
        finished = true;
        yield {finish: choice.finish_reason};
      }
      if (chunk.usage) yield {usage: chunk.usage};
      if (chunk.timings) yield {timings: chunk.timings};
    }
    if (!finished)
      throw new ServerError('The connection ended in the middle of the answer', 'What had come is kept.');
  }
}

// The data of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines
// that begin with "data:", up to an empty line. Comments keep the connection open and say nothing.
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '', data = [];
  try {
    for (;;) {
      let piece;
      try {
        piece = await reader.read();
      } catch (error) {
        if (error.name === 'AbortError') throw error;
        return;  // cut: whoever reads sees that no end came
      }
      if (piece.done) return;
      const lines = (rest + piece.value).split('\n');
      rest = lines.pop();
      for (const line of lines.map((each) => each.replace(/\r$/, ''))) {
        if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
        if (line === '' && data.length > 0) {
          yield data.join('\n');
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});  // it may have failed already, which was told above
  }
}

async function refusal(response) {
  const text = await response.text().catch(() => '');
  let message = text.slice(0, 2000);
  try {
    message = wordsOf(JSON.parse(text)) || message;
  } catch {
    // Not JSON: a proxy's page, or plain words. They are shown as they are.
  }
  return new ServerError(`The server refused (${response.status} ${response.statusText})`.replace(' )', ')'),
    message || 'It gave no reason.', response.status);
}

function wordsOf(body) {
  return body.error?.message ?? (typeof body.error === 'string' ? body.error : JSON.stringify(body.error ?? body));
}
