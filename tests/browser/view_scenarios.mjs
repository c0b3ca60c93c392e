// What the view does in a host, one sentence each.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MODULES } from "./packages.mjs";

const AXE = readFileSync(join(MODULES, "axe-core/axe.min.js"), "utf8");
const FACTS = (facts) => ({ content: [{ type: "text", text: JSON.stringify(facts) }], structuredContent: facts });

export const PROMPT = "A small flower shop on a rainy evening, warm light in the windows, bicycles outside";
const INPUT = { prompt: PROMPT, size: "1280*1280", seed: 7 };

/** Order as a model does, and let the host show it: first the arguments, then the answer. */
async function order(host, args, wait = 20) {
  const input = { ...args, wait_seconds: wait };
  await host.send("sendToolInput", { arguments: input });
  // Scenarios play side by side and must not join each other's orders.
  const answer = await host.call({ name: "generate_image", arguments: { ...input, fresh: true } });
  await host.send("sendToolResult", answer);
  return answer;
}

const pictures = (host, count) =>
  host.frame.waitForFunction(
    (wanted) => [...document.querySelectorAll("wan-card img")].filter((image) => image.naturalWidth > 0).length === wanted,
    count,
  );
const says = (host, words, timeout = 10_000) => host.frame.getByRole("status").filter({ hasText: words }).first().waitFor({ timeout });
const button = (host, name) => host.frame.getByRole("button", { name });

export async function checkAccess(host) {
  await host.frame.evaluate(AXE);
  const found = await host.frame.evaluate(async () => {
    const { violations, incomplete } = await window.axe.run(document, { resultTypes: ["violations", "incomplete"] });
    const open = document.querySelector("dialog[open]");
    const unsure = incomplete.filter((each) => each.id === "color-contrast" && !open);
    return [...violations, ...unsure].map((each) => `${each.id}: ${each.nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
  });
  assert.deepEqual(found, []);
}

/** The library cannot tell what lies behind a dialog. Here it is plain: text on the dialog's own ground. */
export async function checkDialog(host) {
  await checkAccess(host);
  const weak = await host.frame.evaluate(() => {
    const light = (colour) => {
      const [red, green, blue] = colour.match(/[\d.]+/g).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
    };
    const dialog = document.querySelector("dialog[open]");
    const ground = light(getComputedStyle(dialog).backgroundColor);
    const texts = [...dialog.querySelectorAll("p, button")].filter((each) => each.innerText && each.checkVisibility());
    const ratios = texts.map((each) => [each.className, light(getComputedStyle(each).color) / ground]);
    return { count: texts.length, weak: ratios.filter(([, ratio]) => Math.max(ratio, 1 / ratio) < 4.5) };
  });
  assert.ok(weak.count >= 3);
  assert.deepEqual(weak.weak, []);
}

export async function checkWidth(host) {
  const wide = await host.frame.evaluate(() => {
    const right = document.documentElement.clientWidth;
    const reaches = (each) => each.checkVisibility() && (each.getBoundingClientRect().right > right || each.getBoundingClientRect().left < 0);
    return [...document.body.querySelectorAll("*:not(.visually-hidden)")].filter(reaches).map((each) => `${each.tagName} ${each.className}`);
  });
  assert.deepEqual(wide, [], "something reaches over the edge");
}

export const viewScenarios = {
  "shows the words while they are written, then progress, then the image": {
    async run(host, shot) {
      await host.send("sendToolInputPartial", { arguments: { prompt: "A small flower" } });
      await host.frame.getByText("A small flower", { exact: true }).waitFor();
      await host.send("sendToolInput", { arguments: INPUT });
      await says(host, "Ordering");
      await host.frame.getByText(PROMPT).waitFor();
      await host.frame.getByText("1280 × 1280").waitFor();
      await host.frame.getByText("seed 7").waitFor();
      await checkAccess(host);
      await shot("ordering");
      await order(host, INPUT, 0);
      await says(host, /Painting|Waiting at the service/);
      await pictures(host, 1);
      await says(host, "1 image saved");
      await shot("one");
      await checkAccess(host);
      await checkWidth(host);
      const seen = await host.seen();
      assert.deepEqual([...new Set(seen.calls.map((call) => call.name))], ["get_task", "view_image"]);
      assert.match(seen.contexts.at(-1).content[0].text, /"status":"SUCCEEDED".*\.png/);
      assert.ok(seen.sizes.at(-1) > 300 && seen.sizes.at(-1) < 900, `height ${seen.sizes.at(-1)}`);
    },
  },
  "shows four images, wide": {
    width: 900,
    async run(host, shot) {
      await order(host, { ...INPUT, n: 4 });
      await pictures(host, 4);
      await says(host, "4 images saved");
      await shot("four");
      await checkAccess(host);
      await checkWidth(host);
    },
  },
  "shows four images, dark, at 320 pixels": {
    width: 320,
    theme: "dark",
    async run(host, shot) {
      await order(host, { ...INPUT, prompt: `${PROMPT}. `.repeat(6), n: 4, size: "3:4" });
      await says(host, "4 images saved");
      await pictures(host, 4);
      await shot("narrow");
      await checkAccess(host);
      await checkWidth(host);
      await button(host, "Show all").click();
      assert.equal(await button(host, "Show less").getAttribute("aria-expanded"), "true");
    },
  },
  "shows one image in the dark, wide": {
    width: 900,
    theme: "dark",
    async run(host, shot) {
      await order(host, { ...INPUT, size: "1696*960" });
      await pictures(host, 1);
      await shot("dark");
      await checkAccess(host);
      await checkWidth(host);
    },
  },
  "follows the system where the host names no theme": {
    theme: null,
    colorScheme: "dark",
    async run(host) {
      await host.send("sendToolInput", { arguments: INPUT });
      await says(host, "Ordering");
      assert.equal(await host.frame.evaluate(() => getComputedStyle(document.documentElement).backgroundColor), "rgb(29, 29, 27)");
      await host.send("sendHostContextChange", { theme: "light" });
      await host.frame.waitForFunction(() => getComputedStyle(document.documentElement).backgroundColor === "rgb(255, 255, 255)");
      await host.send("sendHostContextChange", { styles: { variables: { "--color-background-primary": "rgb(240, 240, 255)", "--evil": "x" } } });
      await host.frame.waitForFunction(() => getComputedStyle(document.documentElement).backgroundColor === "rgb(240, 240, 255)");
      assert.equal(await host.frame.evaluate(() => document.documentElement.style.getPropertyValue("--evil")), "");
    },
  },
  "tells why an order was refused, and offers no second try of the same words": {
    async run(host, shot) {
      await order(host, { prompt: "sandbox:refuse a flower" });
      await says(host, "Refused by the service's inspection");
      await shot("refused");
      await checkAccess(host);
      assert.equal(await button(host, "Order again").count(), 0);
    },
  },
  "tells of a failed order and offers it again": {
    theme: "dark",
    async run(host, shot) {
      await order(host, { prompt: "sandbox:fail a flower" });
      await says(host, "The order failed");
      await button(host, "Order again").waitFor();
      assert.equal(await button(host, /variations/).count(), 0);
      await shot("failed");
      await checkAccess(host);
    },
  },
  "tells which image is missing and shows the others under their own index": {
    async run(host, shot) {
      const answer = await order(host, { prompt: "sandbox:partial a flower", model: "wan2.2-t2i-flash", size: "1024*1024", n: 3 });
      const { images, failed_images } = answer.structuredContent;
      assert.equal(images.length, 2);
      await pictures(host, 2);
      await says(host, "2 of 3 images saved");
      await host.frame.getByText(`Image ${failed_images[0].index}:`).waitFor();
      await shot("partial");
      const shown = (await host.seen()).calls.filter((call) => call.name === "view_image").map((call) => call.arguments.index);
      assert.deepEqual(shown, [1, 2, 3].filter((index) => index !== failed_images[0].index));
    },
  },
  "says in words how every other state ended": {
    async run(host) {
      const states = [
        [{ status: "EXPIRED", task_id: "t" }, "Not saved in time"],
        [{ status: "CANCELED", task_id: "t" }, "Cancelled"],
        [{ status: "UNKNOWN", task_id: "t", message: "The service does not know this task.", next_step: "Call list_tasks." }, "Unknown to the service"],
        [{ status: "SUBMIT_UNKNOWN", task_id: "t", next_step: "Call list_tasks with remote=true." }, "second charge"],
        [{ status: "SUCCEEDED", task_id: "t", failed_images: [{ index: 1, code: "Storage", message: "The disk is full.", url: "https://example.com/x.png" }], next_step: "Call get_task with task_id=t later." }, "The disk is full."],
        [{ status: "SOMETHING_NEW", task_id: "t", next_step: "Wait and see." }, "Wait and see."],
      ];
      for (const [facts, words] of states) {
        await host.send("sendToolResult", { ...FACTS(facts), isError: facts.status !== "CANCELED" });
        await says(host, words);
        const offered = { SUCCEEDED: ["Ask again"] }[facts.status] ?? [];
        assert.deepEqual(await host.frame.getByRole("button").allInnerTexts(), offered);
      }
      await host.send("sendToolResult", { isError: true, content: [{ type: "text", text: "Error executing tool generate_image: size is 7. Use another." }] });
      await says(host, /That did not work.*size is 7\. Use another\./s);
      await host.send("sendToolResult", { content: [] });
      await says(host, "The answer cannot be read.");
    },
  },
  "reads the facts from the text where a host hands over no structure": {
    async run(host) {
      const answer = await host.call({ name: "generate_image", arguments: { ...INPUT, fresh: true } });
      await host.send("sendToolResult", { content: answer.content });
      await pictures(host, 1);
    },
  },
  "says that a call was cancelled": {
    async run(host, shot) {
      await host.send("sendToolInput", { arguments: INPUT });
      await host.send("sendToolCancelled", { reason: "user action" });
      await says(host, "The call was cancelled");
      await shot("cancelled");
      await checkAccess(host);
    },
  },
  "shows a task with the words and settings that its answer leaves out": {
    async run(host) {
      const first = await host.call({ name: "generate_image", arguments: { ...INPUT, prompt: "A lighthouse", n: 2, fresh: true } });
      const input = { task_id: first.structuredContent.task_id };
      await host.send("sendToolInput", { arguments: input });
      await says(host, "Asking for the task");
      await host.send("sendToolResult", await host.call({ name: "get_task", arguments: input }));
      await pictures(host, 2);
      await host.frame.getByText("A lighthouse", { exact: true }).waitFor();
      await host.frame.getByText("seed 7").waitFor();
      await button(host, "Order again").waitFor();
    },
  },
  "does without those words where the host reads no resources": {
    capabilities: { serverTools: {} },
    async run(host) {
      const first = await host.call({ name: "generate_image", arguments: { ...INPUT, fresh: true } });
      const input = { task_id: first.structuredContent.task_id };
      await host.send("sendToolInput", { arguments: input });
      await host.send("sendToolResult", await host.call({ name: "get_task", arguments: input }));
      await pictures(host, 1);
      assert.equal(await button(host, "Order again").count(), 0);
    },
  },
  "shows paths, and nothing to press that cannot work, in a host without tool calls": {
    width: 420,
    capabilities: {},
    async run(host, shot) {
      const answer = await order(host, { ...INPUT, n: 2 });
      await says(host, "2 images saved");
      for (const image of answer.structuredContent.images) await host.frame.getByText(image.path).waitFor();
      assert.deepEqual(await host.frame.getByRole("button").allInnerTexts(), ["Copy path", "Copy path"]);
      await shot("no-tools");
      await checkAccess(host);
      await checkWidth(host);
      await host.send("sendToolResult", FACTS({ status: "RUNNING", task_id: "t", next_step: "Call get_task with task_id=t and wait_seconds=45." }));
      await says(host, "Painting");
      assert.deepEqual((await host.seen()).calls, []);
    },
  },
  "orders variations only after a second press, and tells the model how they ended": {
    width: 900,
    async run(host, shot) {
      await order(host, INPUT);
      await pictures(host, 1);
      await button(host, "4 variations").click();
      await host.frame.getByText("The sandbox is free.").waitFor();
      await shot("question");
      await checkAccess(host);
      await button(host, "Cancel").click();
      await button(host, "4 variations").dblclick();
      assert.ok((await host.seen()).calls.every((call) => call.name !== "generate_image"), "a double click must not order");
      await button(host, "Order 4 images").click();
      await pictures(host, 5);
      await shot("variations");
      await checkAccess(host);
      const seen = await host.seen();
      const [made, ...more] = seen.calls.filter((call) => call.name === "generate_image");
      assert.deepEqual(more, []);
      const { seed, ...rest } = made.arguments;
      assert.ok(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 31 && seed !== 7, `seed ${seed}`);
      assert.deepEqual([rest.prompt, rest.n, rest.fresh], [PROMPT, 4, true]);
      const told = seen.contexts.at(-1).content[0].text;
      assert.equal(told.match(/\.png/g).length, 4);
    },
  },
  "orders a change of an image, which is its input": {
    async run(host, shot) {
      await order(host, INPUT);
      await pictures(host, 1);
      await button(host, "Use as input").click();
      await host.frame.getByText("The sandbox is free.").waitFor();
      await host.frame.getByLabel("What to change").fill("The same, but with a blue door");
      await shot("edit");
      await checkAccess(host);
      await button(host, "Order 1 image").click();
      await pictures(host, 2);
      await host.frame.getByText(/^from .+#1$/).waitFor();
      const made = (await host.seen()).calls.find((call) => call.name === "generate_image").arguments;
      assert.match(made.images[0], /^[0-9a-f-]{36}#1$/);
      assert.deepEqual([made.prompt, made.region, made.model, made.fresh], ["The same, but with a blue door", "sandbox", undefined, true]);
    },
  },
  "orders the same again, seed and all": {
    async run(host) {
      await order(host, INPUT);
      await pictures(host, 1);
      await button(host, "Order again").click();
      await button(host, "Order 1 image").click();
      await pictures(host, 2);
      const made = (await host.seen()).calls.find((call) => call.name === "generate_image").arguments;
      assert.deepEqual([made.prompt, made.seed, made.size, made.n, made.fresh], [PROMPT, 7, "1280*1280", 1, true]);
    },
  },
  "does not order by a key that is held down": {
    async run(host) {
      await order(host, INPUT);
      await pictures(host, 1);
      await button(host, "Order again").focus();
      for (let time = 0; time < 4; time += 1) await host.page.keyboard.down("Enter");
      await host.page.keyboard.up("Enter");
      await button(host, "Order 1 image").waitFor();
      assert.ok((await host.seen()).calls.every((call) => call.name !== "generate_image"), "a held key must not order");
      await host.page.keyboard.press("Enter");
      await pictures(host, 2);
    },
  },
  "says when the host does not let it order": {
    passing: (params, call) => (params.name === "generate_image" && params.arguments.fresh ? Promise.reject(new Error("The person said no.")) : call(params)),
    async run(host) {
      await order(host, INPUT);
      await pictures(host, 1);
      await button(host, "Order again").click();
      await button(host, "Order 1 image").click();
      await says(host, "The person said no.");
    },
  },
  "asks again when asking fails": {
    passing: (() => {
      let asked = 0;
      return (params, call) => (params.name === "get_task" && (asked += 1) <= 2 ? Promise.reject(new Error("Out for lunch.")) : call(params));
    })(),
    async run(host) {
      await order(host, INPUT, 0);
      await host.frame.waitForFunction(() => document.querySelectorAll("wan-card img").length === 1, null, { timeout: 15_000 });
    },
  },
  "lets a person ask when it gave up": {
    passing: (() => {
      let asked = 0;
      return (params, call) => (params.name === "get_task" && (asked += 1) <= 4 ? Promise.reject(new Error("Out for lunch.")) : call(params));
    })(),
    async run(host, shot) {
      await order(host, INPUT, 0);
      await says(host, /No longer followed.*Out for lunch\./s, 20_000);
      await shot("gave-up");
      await button(host, "Ask again").click();
      await pictures(host, 1);
    },
  },
  "can be walked by keyboard alone": {
    async run(host) {
      await order(host, { ...INPUT, n: 2 });
      await pictures(host, 2);
      await host.frame.locator("body").click({ position: { x: 2, y: 2 } });
      const focus = () => host.frame.evaluate(() => (document.activeElement.getAttribute("aria-label") ?? document.activeElement.innerText ?? "").trim() || document.activeElement.querySelector("img")?.alt || document.activeElement.tagName);
      const walked = [];
      for (let step = 0; step < 6; step += 1) {
        await host.page.keyboard.press("Tab");
        const outline = await host.frame.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
        assert.equal(outline, "solid", `no visible focus on ${await focus()}`);
        walked.push(await focus());
      }
      assert.deepEqual(walked, ["Open larger", "Copy path", "Open larger", "Copy path", "4 variations", "Order again"]);
      await host.page.keyboard.press("Enter");
      assert.equal(await focus(), "Order 2 images");
      await host.page.keyboard.press("Escape");
      assert.equal(await focus(), "Order again");
      for (let step = 0; step < 5; step += 1) await host.page.keyboard.press("Shift+Tab");
      await host.page.keyboard.press("Enter");
      const dialog = host.frame.getByRole("dialog");
      await dialog.waitFor();
      assert.equal(await focus(), "Close");
      await host.page.keyboard.press("ArrowRight");
      await dialog.getByText("Image 2 of 2").waitFor();
      await host.page.keyboard.press("ArrowLeft");
      await dialog.getByText("Image 1 of 2").waitFor();
      for (let step = 0; step < 8; step += 1) await host.page.keyboard.press("Tab");
      await host.page.keyboard.press("Escape");
      await dialog.waitFor({ state: "hidden" });
      assert.equal(await focus(), "Open larger");
      assert.deepEqual((await host.seen()).calls.filter((call) => call.name === "generate_image"), []);
    },
  },
  "opens an image over everything where the host has a full screen, and goes back": {
    context: { availableDisplayModes: ["inline", "fullscreen"] },
    async run(host, shot) {
      await order(host, { ...INPUT, n: 2 });
      await pictures(host, 2);
      await button(host, /Image 2 of 2/).click();
      await host.page.locator("iframe.fullscreen").waitFor();
      await shot("larger");
      await checkDialog(host);
      await button(host, "Previous image").click();
      await button(host, "Close").click();
      await host.page.locator("iframe:not(.fullscreen)").waitFor();
      assert.deepEqual((await host.seen()).modes, ["fullscreen", "inline"]);
    },
  },
  "opens an image larger inside its frame in a host without a full screen": {
    width: 320,
    theme: "dark",
    async run(host, shot) {
      await order(host, INPUT);
      await pictures(host, 1);
      await button(host, /Open larger/).click();
      await host.frame.getByRole("dialog").waitFor();
      await host.page.waitForFunction(() => document.querySelector("iframe").offsetHeight >= 450);
      await shot("larger-narrow");
      await checkWidth(host);
      await checkDialog(host);
    },
  },
  "copies a path": {
    async run(host) {
      const answer = await order(host, INPUT);
      await pictures(host, 1);
      await button(host, "Copy path").click();
      await button(host, "Copied").waitFor();
      await host.page.evaluate(() => {
        document.body.append(Object.assign(document.createElement("textarea"), { id: "paste" }));
        document.getElementById("paste").focus();
      });
      await host.page.keyboard.press("Control+V");
      assert.equal(await host.page.locator("#paste").inputValue(), answer.structuredContent.images[0].path);
    },
  },
  "stops asking when the host takes it down": {
    async run(host) {
      await order(host, { prompt: "sandbox:slow a flower" }, 0);
      await says(host, /Painting|Waiting/);
      await host.page.waitForFunction(() => window.seen.calls.length === 1);
      await host.send("teardownResource", {});
      await host.page.waitForFunction(() => window.seen.answers === 1, null, { timeout: 25_000 });
      await host.page.waitForTimeout(2_500);
      assert.equal((await host.seen()).calls.length, 1);
    },
  },
  "shows words as words": {
    async run(host) {
      const prompt = `<img src="https://example.com/x.png" onerror="document.title='broken'"><script>document.title="broken"</script>`;
      await order(host, { prompt });
      await pictures(host, 1);
      await host.frame.getByText(prompt, { exact: true }).waitFor();
      assert.equal(await host.frame.title(), "Pictures by Wan");
    },
  },
  "can be used in forced colours": {
    forcedColors: "active",
    async run(host, shot) {
      await order(host, INPUT);
      await pictures(host, 1);
      await shot("forced");
    },
  },
};
