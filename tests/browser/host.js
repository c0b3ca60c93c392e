// A host of MCP Apps on the public library. It has no server of its own: the script that drives the page passes calls on.

import { AppBridge, PostMessageTransport, buildAllowAttribute } from "@modelcontextprotocol/ext-apps/app-bridge";

const seen = { sizes: [], modes: [], contexts: [], calls: [], reads: [], answers: 0 };

async function open({ view, capabilities, context, permissions }) {
  const frame = document.createElement("iframe");
  frame.title = "The view";
  frame.setAttribute("sandbox", "allow-scripts");
  frame.setAttribute("allow", buildAllowAttribute(permissions));
  document.documentElement.classList.toggle("dark", context.theme === "dark");
  document.body.append(frame);
  const bridge = new AppBridge(null, { name: "a host", version: "1" }, capabilities, { hostContext: context });
  if (capabilities.serverTools) {
    bridge.oncalltool = async (params) => {
      seen.calls.push(params);
      const answer = await window.passCall(params);
      seen.answers += 1;
      if (answer.refused) throw new Error(answer.refused);
      return answer;
    };
  }
  if (capabilities.serverResources) {
    bridge.onreadresource = async (params) => {
      seen.reads.push(params.uri);
      const answer = await window.passRead(params);
      if (answer.refused) throw new Error(answer.refused);
      return answer;
    };
  }
  if (capabilities.updateModelContext) {
    bridge.onupdatemodelcontext = async (params) => {
      seen.contexts.push(params);
      return {};
    };
  }
  bridge.onsizechange = ({ height }) => {
    seen.sizes.push(height);
    if (height) frame.style.height = `${height}px`;
  };
  bridge.onrequestdisplaymode = async ({ mode }) => {
    seen.modes.push(mode);
    frame.classList.toggle("fullscreen", mode === "fullscreen");
    await bridge.sendHostContextChange({ displayMode: mode });
    return { mode };
  };
  const ready = new Promise((resolve) => {
    bridge.oninitialized = resolve;
  });
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.src = view;
  await ready;
  return bridge;
}

window.seen = seen;
window.openView = async (options) => {
  window.bridge = await open(options);
};
