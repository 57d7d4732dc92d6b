// What the official npm SDK makes of the gateway: every scenario with every model, the results as JSON on stdout.
// Called with the base URL, the key and the models.
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseURL, apiKey, ...models] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const ask = (content) => [{ role: "user", content }];
const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const weather = { type: "function", function: { name: "get_weather", description: "The weather.", parameters } };
const Proof = z.object({ answer: z.number().int(), verdict: z.enum(["right", "wrong"]), note: z.string().nullable() });

const scenarios = {
  async json(model) {
    const { data, response } = await client.chat.completions
      .create({ model, messages: ask("Say it verbatim") })
      .withResponse();
    const { message, finish_reason } = data.choices[0];
    return { text: message.content, finish: finish_reason, usage: data.usage, id: response.headers.get("x-request-id") };
  },

  async stream(model) {
    const stream_options = { include_usage: true };
    const stream = await client.chat.completions.create({
      model, messages: ask("Say it verbatim"), stream: true, stream_options,
    });
    let [text, finish, usage] = ["", null, null];
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    return { text, finish, usage };
  },

  // The fragments added up by hand, as many programs do it.
  async fragments(model) {
    const messages = ask("Call get_weather for both cities");
    const calls = [];
    for await (const chunk of await client.chat.completions.create({ model, messages, tools: [weather], stream: true })) {
      for (const piece of chunk.choices[0]?.delta.tool_calls ?? []) {
        const call = (calls[piece.index] ??= { id: piece.id, type: piece.type, name: piece.function.name, arguments: "" });
        call.arguments += piece.function.arguments;
      }
    }
    return calls;
  },

  // The SDK's own loop: it calls the functions and sends their results until there is an answer.
  async runTools(model) {
    const called = [];
    const run = (city) => {
      called.push(city);
      return "sunny";
    };
    const tool = { ...weather, function: { ...weather.function, parse: JSON.parse, function: run } };
    const runner = client.chat.completions.runTools({
      model, messages: ask("Call get_weather for both cities"), tools: [tool], stream: true,
    });
    const text = await runner.finalContent();
    return { called, text, roles: runner.messages.map((message) => message.role) };
  },

  async parse(model) {
    const response_format = zodResponseFormat(Proof, "proof");
    const whole = await client.chat.completions.parse({ model, messages: ask("Prove it"), response_format });
    const stream = client.chat.completions.stream({ model, messages: ask("Prove it"), response_format });
    const streamed = await stream.finalChatCompletion();
    return { whole: whole.choices[0].message.parsed, streamed: streamed.choices[0].message.parsed };
  },

  async zodTool(model) {
    const tool = zodFunction({ name: "get_proof", parameters: Proof });
    const answer = await client.chat.completions.parse({ model, messages: ask("Use get_proof"), tools: [tool] });
    return answer.choices[0].message.tool_calls[0].function.parsed_arguments;
  },
};

const failures = {
  badRequest: () => client.chat.completions.create({ model: models[0], messages: [] }),
  badKey: () => new OpenAI({ baseURL, apiKey: "gw-wrong", maxRetries: 0 }).models.list(),
  unknownModel: () => client.chat.completions.create({ model: "no-such-model", messages: ask("hi") }),
  unknownModelStreamed: () => client.chat.completions.create({ model: "no-such-model", messages: ask("hi"), stream: true }),
};

const attempt = async (action) => {
  try {
    return await action();
  } catch (fault) {
    const { status, code, param, requestID } = fault;
    return { raised: fault.constructor.name, message: fault.message, status, code, param, requestID };
  }
};

const results = { errors: {}, models: (await client.models.list()).data.map((model) => model.id) };
for (const [name, action] of Object.entries(failures)) results.errors[name] = await attempt(action);
for (const [name, scenario] of Object.entries(scenarios)) {
  results[name] = {};
  for (const model of models) results[name][model] = await attempt(() => scenario(model));
}
console.log(JSON.stringify(results));
