// Shows an MCP server that speaks over standard input and output as one over streamable HTTP, for checks that know
// nothing else: one process for each session, every message passed on as it is.
//   mcp-bridge.mjs PROGRAM ARGUMENT...
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";

const [command, ...args] = process.argv.slice(2);
const sessions = new Map();

async function open() {
  const child = new StdioClientTransport({ command, args, env: process.env });
  const web = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => sessions.set(id, web),
  });
  web.onmessage = (message) => child.send(message);
  child.onmessage = (message) => web.send(message);
  web.onclose = () => child.close();
  child.onclose = () => web.sessionId && sessions.delete(web.sessionId);
  await child.start();
  await web.start();
  return web;
}

const server = createServer(async (request, response) => {
  const id = request.headers["mcp-session-id"];
  if (id !== undefined && !sessions.has(id)) return response.writeHead(404).end();
  const web = id === undefined ? await open() : sessions.get(id);
  await web.handleRequest(request, response);
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/mcp`));
