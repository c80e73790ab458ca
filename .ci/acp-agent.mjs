// An agent built on the official SDK of the agent client protocol, for checks of our client. It asks for permission
// twice, tries what is not offered, and answers with what came of it. Stays in its turn if the prompt says `wait`.
import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";

const sessions = new Map();
const permission = async (client, sessionId, kind) => {
  const answer = await client.request("session/request_permission", {
    sessionId,
    toolCall: { toolCallId: kind, title: `a ${kind}`, kind },
    options: [
      { optionId: "always", name: "Always", kind: "allow_always" },
      { optionId: "yes", name: "Yes", kind: "allow_once" },
      { optionId: "no", name: "No", kind: "reject_once" },
    ],
  });
  return answer.outcome.outcome === "selected" ? answer.outcome.optionId : answer.outcome.outcome;
};

acp
  .agent({ name: "check" })
  .onRequest("initialize", ({ params }) => ({
    protocolVersion: params.protocolVersion,
    agentCapabilities: { loadSession: false },
    agentInfo: { name: "check", version: "1" },
  }))
  .onRequest("session/new", ({ params }) => {
    sessions.set("s1", { cwd: params.cwd, cancel: null });
    return { sessionId: "s1" };
  })
  .onNotification("session/cancel", ({ params }) => sessions.get(params.sessionId).cancel?.())
  .onRequest("session/prompt", async ({ params, client }) => {
    const { sessionId, prompt } = params;
    const session = sessions.get(sessionId);
    const update = (update) => client.notify("session/update", { sessionId, update });
    const text = prompt.map((part) => part.text).join("");
    await update({ sessionUpdate: "agent_thought_chunk", content: { type: "text", text: "hm" } });
    await update({ sessionUpdate: "tool_call", toolCallId: "1", title: "looks around", kind: "read", status: "pending" });
    if (text.includes("wait")) {
      await new Promise((resolve) => (session.cancel = resolve));
      return { stopReason: "cancelled" };
    }
    const read = await permission(client, sessionId, "read");
    const execute = await permission(client, sessionId, "execute");
    let file = "given";
    try {
      await client.request("fs/read_text_file", { sessionId, path: "/etc/passwd" });
    } catch (error) {
      file = error.code;
    }
    const answer = JSON.stringify({ text, cwd: session.cwd, read, execute, file });
    await update({ sessionUpdate: "agent_message_chunk", content: { type: "text", text: "Here it is:\n" } });
    await update({ sessionUpdate: "agent_message_chunk", content: { type: "text", text: answer } });
    return { stopReason: "end_turn" };
  })
  .connect(acp.ndJsonStream(Writable.toWeb(process.stdout), Readable.toWeb(process.stdin)));
