// A small Markdown, as a tree of plain values. Whoever draws it makes text nodes of the leaves: nothing is ever HTML.
//
// Block: {kind: paragraph|heading|code|list, …}. Span: a string, {kind: bold|italic|code|break, spans|text} or
// {kind: link, href, spans}.

const SPAN = new RegExp(
  [
    /`(?<code>[^`\n]+)`/,
    /\*\*(?<bold>\S(?:[^\n]*?\S)?)\*\*(?!\*)/,
    /\*(?<star>[^\s*](?:[^*\n]*?[^\s*])?)\*/,
    /(?<![\p{L}\p{N}])_(?<line>[^\s_](?:[^_\n]*?[^\s_])?)_(?![\p{L}\p{N}])/,
    /\[(?<label>[^\]\n]+)\]\((?<href>[^\s()]+)\)/,
    /(?<url>https?:\/\/[^\s<>()]*[^\s<>().,;:!?'"])/,
    /\n/,
  ].map((part) => part.source).join("|"),
  "gu",
);
const ITEM = /^\s*(?:[-*•]|(?<number>\d{1,3})[.)])\s+(?<text>.*)$/;

/** The blocks of a text. */
export function parse(text) {
  const blocks = [];
  const lines = String(text ?? "").replaceAll("\r\n", "\n").split("\n");
  while (lines.length) {
    const line = lines.shift();
    const item = ITEM.exec(line);
    const last = blocks.at(-1);
    if (line.startsWith("```")) {
      const end = lines.findIndex((each) => each.startsWith("```"));
      blocks.push({ kind: "code", text: lines.splice(0, end < 0 ? lines.length : end).join("\n") });
      lines.shift();
    } else if (!line.trim()) blocks.push({ kind: "gap" });
    else if (item) {
      const ordered = item.groups.number !== undefined;
      if (last?.kind === "list" && last.ordered === ordered) last.items.push(item.groups.text);
      else blocks.push({ kind: "list", ordered, start: Number(item.groups.number ?? 1), items: [item.groups.text] });
    } else if (/^#{1,6}\s/.test(line)) blocks.push({ kind: "heading", text: line.replace(/^#+\s+/, "") });
    else if (last?.kind === "paragraph") last.text += `\n${line}`;
    else blocks.push({ kind: "paragraph", text: line });
  }
  return joinLists(blocks).filter((block) => block.kind !== "gap").map(({ items, ...block }) => ({
    ...block,
    ...(items && { items: items.map(parseSpans) }),
    ...(block.kind !== "code" && !items && { spans: parseSpans(block.text) }),
  }));
}

/** The spans of one line or paragraph. */
export function parseSpans(text) {
  const spans = [];
  let end = 0;
  for (const match of text.matchAll(SPAN)) {
    if (match.index > end) spans.push(text.slice(end, match.index));
    spans.push(spanOf(match));
    end = match.index + match[0].length;
  }
  return end < text.length ? [...spans, text.slice(end)] : spans;
}

function spanOf({ 0: text, groups: { code, bold, star, line, label, href, url } }) {
  const italic = star ?? line;
  if (text === "\n") return { kind: "break" };
  if (code !== undefined) return { kind: "code", text: code };
  if (bold !== undefined) return { kind: "bold", spans: parseSpans(bold) };
  if (italic !== undefined) return { kind: "italic", spans: parseSpans(italic) };
  if (url !== undefined) return { kind: "link", href: url, spans: [url] };
  return isWebAddress(href) ? { kind: "link", href, spans: parseSpans(label) } : text;
}

/** Whether an address is http(s) and without credentials; nothing else becomes a link. */
export function isWebAddress(address, base) {
  if (typeof address !== "string" || !URL.canParse(address, base)) return false;
  const { protocol, username, password } = new URL(address, base);
  return ["http:", "https:"].includes(protocol) && !username && !password;
}

/** Lists with blank lines between their items are one list. */
function joinLists(blocks) {
  const joined = [];
  for (const block of blocks) {
    const [gap, list] = [joined.at(-1), joined.at(-2)];
    if (block.kind === "list" && gap?.kind === "gap" && list?.kind === "list" && list.ordered === block.ordered) {
      joined.pop();
      list.items.push(...block.items);
    } else joined.push(block);
  }
  return joined;
}
