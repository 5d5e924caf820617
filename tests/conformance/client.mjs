// One walk through the server with a client of the TypeScript SDK. Prints what came back as one JSON object.
//
//   node client.mjs '{"sdk": "v1" | "v2", "era": "legacy" | "auto", "command": …, "env": … | "url": …, "headers": …}'

const { sdk, era, url, headers, command, env } = JSON.parse(process.argv[2]);

function transport(Http, Stdio) {
  return url ? new Http(new URL(url), { requestInit: { headers } }) : new Stdio({ command, env });
}

async function connectV1() {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const client = new Client({ name: "conformance", version: "1" });
  await client.connect(transport(StreamableHTTPClientTransport, StdioClientTransport));
  return client;
}

async function connectV2() {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  const client = new Client({ name: "conformance", version: "1" }, { versionNegotiation: { mode: era } });
  await client.connect(transport(StreamableHTTPClientTransport, StdioClientTransport));
  return client;
}

async function failure(promise) {
  try {
    return { answered: await promise };
  } catch (error) {
    return { code: error.code, message: error.message };
  }
}

const client = await (sdk === "v1" ? connectV1() : connectV2());
const seen = {
  server: client.getServerVersion(),
  capabilities: client.getServerCapabilities(),
  instructions: client.getInstructions(),
};
seen.tools = (await client.listTools()).tools.map((tool) => tool.name);

// Listing first gives the client the output schemas, by which it checks each result that follows.
const key = { pk: "deploy#local#user#1", sk: "PROFILE" };
const call = (name, args, options) => client.callTool({ name, arguments: args }, ...(sdk === "v1" ? [undefined] : []), options);
seen.put = await call("put", { item: { ...key, name: "Ann", visits: 3 } });
seen.get = await call("get", key);
seen.query = await call("query", { pk: key.pk });
seen.scan = await call("scan", { view: "summary" });
seen.info = await call("info", {});
seen.refused = await call("get", { pk: "deploy#other#user#1", sk: "PROFILE" });
seen.invalid = await call("query", { pk: key.pk, limit: 0 });
seen.delete = await call("delete", key);

seen.resources = (await client.listResources()).resources;
seen.skill = (await client.readResource({ uri: seen.resources[0].uri })).contents[0];
seen.prompts = (await client.listPrompts()).prompts;
seen.prompt = await client.getPrompt({ name: seen.prompts[0].name });

seen.unknown = {
  tool: await failure(call("nope", {})),
  resource: await failure(client.readResource({ uri: "skill://nope/SKILL.md" })),
  prompt: await failure(client.getPrompt({ name: "nope" })),
};

if (sdk === "v2") {
  const { SkillsClient } = await import("@modelcontextprotocol/client/ext/skills");
  const skills = new SkillsClient(client);
  const listed = (await skills.list()).skills;
  seen.skills = [];
  for (const skill of listed) {
    for (const file of skill.resources) {
      const { uri, verified } = await skills.read(skill, file.uri);
      seen.skills.push({ uri, verified });
    }
  }
}

await client.close();
console.log(JSON.stringify(seen));
