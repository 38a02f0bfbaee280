// The server's side of the page: the same public API that any other client uses.

const SAMPLING = { temperature: 0.7 };

export class ApiError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

export async function servedModel() {
  const answer = await (await fetch("/v1/models")).json();
  const [model] = answer.data;
  return { name: model.id, context: model.jielong.context_length };
}

// Yields the chunks of one streamed answer. Turns that do not fit may be dropped: the first chunk
// tells how many were.
export async function* complete(model, messages, signal) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
      context_overflow: "drop_oldest",
      ...SAMPLING,
    }),
    signal,
  });
  if (!response.ok) {
    const { error } = await response.json();
    throw new ApiError(error.message, error.code);
  }
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, chunk.error.code);
    yield chunk;
  }
  throw new ApiError("the stream ended early", "interrupted");
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    const whole = buffer.split("\n\n");
    buffer = whole.pop();
    for (const event of whole) {
      if (event.startsWith("data: ")) yield event.slice("data: ".length);
    }
  }
}
