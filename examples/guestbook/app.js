// A guest-book: GET / shows it, POST / signs it. Its items are those that an agent sees with the tools of ddb-mcp.
const http = require('node:http');
const { randomUUID } = require('node:crypto');
const { DynamoDBClient } = require('@aws-sdk/client-dynamodb');
const { DynamoDBDocumentClient, PutCommand, QueryCommand } = require('@aws-sdk/lib-dynamodb');

const { DYNAMODB_TABLE: TableName, DYNAMODB_PREFIX: prefix, PORT = '3000' } = process.env;
const db = DynamoDBDocumentClient.from(new DynamoDBClient({}));
const pk = `${prefix}#guestbook#main`;

async function entries() {
  const found = [];
  let ExclusiveStartKey;
  do {
    const page = await db.send(new QueryCommand({
      TableName,
      KeyConditionExpression: '#pk = :pk AND begins_with(#sk, :entry)',
      ExpressionAttributeNames: { '#pk': 'pk', '#sk': 'sk' },
      ExpressionAttributeValues: { ':pk': pk, ':entry': 'ENTRY#' },
      ScanIndexForward: false,
      ExclusiveStartKey,
    }));
    found.push(...page.Items);
    ExclusiveStartKey = page.LastEvaluatedKey;
  } while (ExclusiveStartKey);
  return found;
}

async function sign(name, message) {
  const at = new Date().toISOString();
  const item = { pk, sk: `ENTRY#${at}#${randomUUID()}`, name, message, at };
  await db.send(new PutCommand({
    TableName,
    Item: item,
    ConditionExpression: 'attribute_not_exists(#pk)',
    ExpressionAttributeNames: { '#pk': 'pk' },
  }));
  return item;
}

const escape = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const page = (list) => `<!doctype html><meta charset="utf-8"><title>Guest-book</title>
<h1>Guest-book</h1>
<form method="post"><input name="name" placeholder="Name" required> <input name="message" placeholder="Message" required>
<button>Sign</button></form>
<ul>${list.map((entry) => `<li><b>${escape(entry.name)}</b>: ${escape(entry.message)}</li>`).join('\n')}</ul>`;

async function body(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > 10_000) throw new Error('too long');
  }
  return new URLSearchParams(text);
}

const server = http.createServer(async (request, response) => {
  try {
    if (request.method === 'POST') {
      const form = await body(request);
      await sign(form.get('name') || 'somebody', form.get('message') || '');
      response.writeHead(303, { Location: '/' }).end();
    } else {
      response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(page(await entries()));
    }
  } catch (error) {
    console.error(error);
    response.writeHead(500, { 'Content-Type': 'text/plain' }).end('Something went wrong; see the log.');
  }
});

server.listen(Number(PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
