// A single-table model with an index, as the documentation of each library has it. Prints what came back as JSON.
//
//   node orms.mjs '{"library": …, "endpoint": …, "prefix": …}'
import { DynamoDBClient, CreateTableCommand } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";

const { library, endpoint, prefix } = JSON.parse(process.argv[2]);
const TableName = `orms-${library}`;
const client = new DynamoDBClient({
  endpoint,
  region: "us-east-1",
  credentials: { accessKeyId: "test", secretAccessKey: "test" },
});

async function createTable(hash, range) {
  const keys = ["pk", "sk", hash, range];
  const schema = (pk, sk) => [{ AttributeName: pk, KeyType: "HASH" }, { AttributeName: sk, KeyType: "RANGE" }];
  await client.send(
    new CreateTableCommand({
      TableName,
      KeySchema: schema("pk", "sk"),
      AttributeDefinitions: keys.map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
      GlobalSecondaryIndexes: [
        { IndexName: "gsi1", KeySchema: schema(hash, range), Projection: { ProjectionType: "ALL" } },
      ],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
}

async function electrodb() {
  const { Entity, Service } = await import("electrodb");
  await createTable("gsi1pk", "gsi1sk");
  const keys = (pk, sk, index) => ({ ...index, pk: { field: index ? "gsi1pk" : "pk", ...pk }, sk: { field: index ? "gsi1sk" : "sk", ...sk } });
  const employee = new Entity(
    {
      model: { entity: "employee", version: "1", service: prefix },
      attributes: {
        employee: { type: "string" },
        office: { type: "string", required: true },
        team: { type: "string" },
        salary: { type: "number", default: 0 },
      },
      indexes: {
        employee: keys({ composite: ["employee"], template: `${prefix}#employee_\${employee}` }, { composite: [] }),
        coworkers: keys(
          { composite: ["office"], template: `${prefix}#office_\${office}` },
          { composite: ["team", "employee"] },
          { index: "gsi1", collection: "workplaces" },
        ),
      },
    },
    { client, table: TableName },
  );
  const office = new Entity(
    {
      model: { entity: "office", version: "1", service: prefix },
      attributes: { office: { type: "string" }, city: { type: "string", required: true } },
      indexes: {
        office: keys({ composite: ["office"], template: `${prefix}#place_\${office}` }, { composite: [] }),
        place: keys(
          { composite: ["office"], template: `${prefix}#office_\${office}` },
          { composite: [] },
          { index: "gsi1", collection: "workplaces" },
        ),
      },
    },
    { client, table: TableName },
  );
  const service = new Service({ employee, office });
  await office.create({ office: "north", city: "Oslo" }).go();
  for (const [name, team] of [["ann", "green"], ["bob", "red"], ["cat", "green"]]) {
    await employee.create({ employee: name, office: "north", team }).go();
  }
  await employee.patch({ employee: "bob" }).set({ office: "south", team: "red" }).add({ salary: 5 }).go();
  const green = await employee.query.coworkers({ office: "north", team: "green" }).go();
  const first = await employee.query.coworkers({ office: "north" }).go({ limit: 1 });
  const second = await employee.query.coworkers({ office: "north" }).go({ limit: 1, cursor: first.cursor });
  const between = await employee.query.coworkers({ office: "north" }).gte({ team: "h" }).go();
  const both = await service.collections.workplaces({ office: "north" }).go();
  const moved = await employee.query.coworkers({ office: "south" }).where(({ salary }, { gt }) => gt(salary, 4)).go();
  await employee.delete({ employee: "ann" }).go();
  const left = await employee.query.coworkers({ office: "north" }).go({ order: "desc" });
  return {
    green: green.data.map((each) => each.employee),
    pages: [...first.data, ...second.data].map((each) => each.employee),
    between: between.data.length,
    both: [both.data.employee.length, both.data.office[0].city],
    moved: moved.data.map((each) => [each.employee, each.salary]),
    left: left.data.map((each) => each.employee),
  };
}

async function toolbox() {
  const { Table, Entity, item, string, number, QueryCommand, PutItemCommand, UpdateItemCommand, DeleteItemCommand, ScanCommand, $add } =
    await import("dynamodb-toolbox");
  await createTable("gsi1pk", "gsi1sk");
  const string_ = { name: "", type: "string" };
  const table = new Table({
    documentClient: DynamoDBDocumentClient.from(client),
    name: TableName,
    partitionKey: { ...string_, name: "pk" },
    sortKey: { ...string_, name: "sk" },
    indexes: {
      gsi1: { type: "global", partitionKey: { ...string_, name: "gsi1pk" }, sortKey: { ...string_, name: "gsi1sk" } },
    },
  });
  const pokemon = new Entity({
    name: "Pokemon",
    table,
    schema: item({
      master: string().key(),
      name: string().key(),
      kind: string(),
      level: number(),
    }).and((schema) => ({
      gsi1pk: string().link(({ kind }) => `${prefix}#KIND#${kind}`),
      gsi1sk: string().link(({ level }) => `${level}`.padStart(4, "0")),
    })),
    computeKey: ({ master, name }) => ({ pk: `${prefix}#MASTER#${master}`, sk: `POKEMON#${name}` }),
  });
  for (const [name, level] of [["pikachu", 12], ["raichu", 40], ["voltorb", 7]]) {
    await pokemon.build(PutItemCommand).item({ master: "ash", name, kind: "electric", level }).send();
  }
  const query = (asked, options = {}) =>
    table.build(QueryCommand).entities(pokemon).query({ index: "gsi1", partition: `${prefix}#KIND#electric`, ...asked }).options(options).send();
  const names = ({ Items }) => Items.map((each) => each.name);
  const all = names(await query({}));
  const strong = names(await query({ range: { gte: "0010" } }, { reverse: true }));
  const first = await query({}, { limit: 1 });
  const rest = await query({}, { exclusiveStartKey: first.LastEvaluatedKey });
  const filtered = names(await query({}, { filters: { Pokemon: { attr: "level", lt: 20 } } }));
  await pokemon.build(UpdateItemCommand).item({ master: "ash", name: "voltorb", level: $add(1), gsi1pk: `${prefix}#KIND#steel` }).send();
  await pokemon.build(DeleteItemCommand).key({ master: "ash", name: "raichu" }).send();
  const left = names(await query({}));
  const scanned = await table.build(ScanCommand).entities(pokemon).options({ index: "gsi1" }).send();
  return { all, strong, pages: [...names(first), ...names(rest)], filtered, left, scanned: scanned.Items.length };
}

async function onetable() {
  const { Table } = await import("dynamodb-onetable");
  const table = new Table({
    client,
    name: TableName,
    partial: true,
    schema: {
      format: "onetable:1.1.0",
      version: "0.0.1",
      indexes: {
        primary: { hash: "pk", sort: "sk" },
        gs1: { hash: "gs1pk", sort: "gs1sk", follow: true },
        ls1: { hash: "pk", sort: "id", type: "local" },
      },
      models: {
        Account: {
          pk: { type: String, value: `${prefix}#account:\${id}` },
          sk: { type: String, value: "account:" },
          id: { type: String, required: true },
          name: { type: String, required: true },
        },
        User: {
          pk: { type: String, value: `${prefix}#account:\${accountId}` },
          sk: { type: String, value: "user:${email}" },
          id: { type: String, required: true },
          accountId: { type: String, required: true },
          email: { type: String, required: true },
          role: { type: String, enum: ["user", "admin"], required: true, default: "user" },
          balance: { type: Number, default: 0 },
          gs1pk: { type: String, value: `${prefix}#user-role:\${role}` },
          gs1sk: { type: String, value: "user:${email}" },
        },
      },
      params: { isoDates: true, timestamps: true },
    },
  });
  await table.createTable();
  const Account = table.getModel("Account");
  const User = table.getModel("User");
  const account = await Account.create({ id: "acme", name: "Acme Airplanes" });
  for (const [id, email, role] of [["3", "a@x", "user"], ["2", "b@x", "admin"], ["1", "c@x", "user"]]) {
    await User.create({ id, accountId: account.id, email, role });
  }
  const emails = (users) => users.map((each) => each.email);
  const users = emails(await User.find({ role: "user" }, { index: "gs1" }));
  const followed = await User.get({ role: "admin", email: "b@x" }, { index: "gs1", follow: true });
  const first = await User.find({ role: "user" }, { index: "gs1", limit: 1 });
  const rest = await User.find({ role: "user" }, { index: "gs1", next: first.next });
  const byId = emails(await User.find({ accountId: account.id }, { index: "ls1" }));
  const transaction = {};
  await Account.update({ id: account.id, name: "Acme" }, { transaction });
  await User.update({ accountId: account.id, email: "a@x", role: "admin" }, { transaction, add: { balance: 10 } });
  await table.transact("write", transaction);
  const admins = emails(await User.find({ role: "admin" }, { index: "gs1" }));
  await User.remove({ accountId: account.id, email: "b@x" });
  const { Table: described } = await table.describeTable();
  return {
    users,
    followed: followed.id,
    pages: emails([...first, ...rest]),
    byId,
    admins,
    left: (await User.find({ role: "admin" }, { index: "gs1", count: true })).count,
    indexes: [...described.LocalSecondaryIndexes, ...described.GlobalSecondaryIndexes].map((each) => each.IndexName),
  };
}

console.log(JSON.stringify(await { electrodb, toolbox, onetable }[library]()));
