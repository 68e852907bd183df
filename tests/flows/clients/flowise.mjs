// A program with Flowise's SDK for TypeScript: each line of standard input is something to ask, each line of standard output
// what came of it.
import { createInterface } from 'node:readline';
// The package is a CommonJS one: Node.js finds its class only so.
import flowise from 'flowise-sdk';

async function predict({ base, key, prediction }) {
  const client = new flowise.FlowiseClient({ baseUrl: base, apiKey: key });
  const answer = await client.createPrediction(prediction);
  if (!(Symbol.asyncIterator in answer)) return { answer };
  const events = [];
  for await (const event of answer) events.push(event);
  return { events };
}

const raised = (error) => ({ raised: error.constructor.name, message: error.message });

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await predict(JSON.parse(line)).catch(raised)));
}
