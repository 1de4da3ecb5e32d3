// The console's editor: CodeMirror with JavaScript. It is below a shadow root, where
// its styles are adopted sheets: the console's policy takes no inline styles. `cargo
// xtask guests` bundles this file with its packages; `editing.js` asks for it.

import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { javascript } from "@codemirror/lang-javascript";
import { HighlightStyle, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState, Prec, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

/** The console's colours, which follow light and dark. */
const theme = EditorView.theme({
  "&": { height: "100%", fontSize: "12.5px", color: "var(--text)", backgroundColor: "var(--card)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5" },
  ".cm-content": { caretColor: "var(--text)" },
  ".cm-gutters": { color: "var(--muted)", backgroundColor: "var(--sunken)", borderRight: "1px solid var(--line)" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--hover)" },
  ".cm-line.cm-wrong": { backgroundColor: "var(--bad-ground)", boxShadow: "inset 3px 0 var(--bad)" },
  "&.cm-focused .cm-matchingBracket, .cm-selectionMatch": { backgroundColor: "var(--calm-ground)" },
  "&.cm-focused .cm-nonmatchingBracket": { backgroundColor: "var(--bad-ground)" },
  ".cm-searchMatch": { backgroundColor: "var(--warn-ground)", outline: "1px solid var(--warn)" },
  ".cm-searchMatch-selected": { backgroundColor: "var(--good-ground)" },
  ".cm-panel.cm-search": { fontSize: "14px" },
  ".cm-panels": { color: "var(--text)", backgroundColor: "var(--sunken)", borderColor: "var(--line)" },
  ".cm-textfield": { color: "var(--text)", backgroundColor: "var(--card)", border: "1px solid var(--field-line)" },
  ".cm-textfield::placeholder": { color: "var(--muted)", opacity: "1" },
  ".cm-button": { color: "var(--text)", backgroundImage: "none", backgroundColor: "var(--card)", border: "1px solid var(--field-line)" },
  ".cm-panel.cm-search [name=close]": { color: "var(--text)", fontSize: "16px" },
});

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier, tags.self, tags.null, tags.bool], color: "var(--keyword)" },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], color: "var(--good)" },
  { tag: [tags.number, tags.escape], color: "var(--warn)" },
  { tag: [tags.comment, tags.meta], color: "var(--muted)" },
  { tag: [tags.function(tags.variableName), tags.function(tags.propertyName), tags.className, tags.definition(tags.propertyName)], color: "var(--accent)" },
  { tag: tags.invalid, color: "var(--bad)" },
]);

/** The line in which something is wrong; it moves with the text. */
const setWrong = StateEffect.define();
const wrong = StateField.define({
  create: () => Decoration.none,
  update(marks, transaction) {
    let next = marks.map(transaction.changes);
    for (const effect of transaction.effects) {
      if (!effect.is(setWrong)) continue;
      const at = effect.value === null ? [] : [Decoration.line({ class: "cm-wrong" }).range(effect.value)];
      next = Decoration.set(at);
    }
    return next;
  },
  provide: (field) => EditorView.decorations.from(field),
});

/**
 * What is typed over a selection. Left to itself, Chromium gives it an inline style where several lines become one, which the
 * console's policy refuses and reports.
 */
const typedOver = EditorView.domEventHandlers({
  beforeinput({ inputType, data }, view) {
    const { main, ranges } = view.state.selection;
    if (inputType !== "insertText" || !data || main.empty || ranges.length > 1) return false;
    const insert = () => view.state.update(view.state.replaceSelection(data), { userEvent: "input.type", scrollIntoView: true });
    const handlers = view.state.facet(EditorView.inputHandler);
    if (!handlers.some((handle) => handle(view, main.from, main.to, data, insert))) view.dispatch(insert());
    return true;
  },
});

/** See `Editing` and `openEditor` in `editing.js`. */
export function createEditor(place, { label, onChange, onSubmit }) {
  const host = document.createElement("div");
  host.id = "script-component";
  host.className = "component";
  const root = host.attachShadow({ mode: "open" });
  place.replaceChildren(host);

  const submit = { key: "Mod-Enter", run: () => (onSubmit(), true) };
  const extensions = [
    Prec.highest(keymap.of([submit])),
    lineNumbers(), highlightActiveLine(), highlightActiveLineGutter(),
    history(), indentOnInput(), indentUnit.of("  "), bracketMatching(), closeBrackets(),
    javascript(), syntaxHighlighting(colours), highlightSelectionMatches(), search({ top: true }),
    // Tab is not among them: it leaves the editor, as it leaves any field.
    keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap]),
    theme, typedOver, wrong,
    EditorView.contentAttributes.of({ "aria-label": label }),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) onChange();
    }),
  ];
  const stateOf = (doc) => EditorState.create({ doc, extensions });
  const view = new EditorView({ state: stateOf(""), parent: root, root });
  const lineAt = (number) => view.state.doc.line(Math.min(Math.max(number, 1), view.state.doc.lines));
  return {
    text: () => view.state.doc.toString(),
    // Another text, whose history begins here.
    setText: (text) => view.setState(stateOf(text)),
    goTo(line, column) {
      const { from, to } = lineAt(line);
      const at = Math.min(from + column - 1, to);
      view.dispatch({ selection: { anchor: at }, effects: EditorView.scrollIntoView(at, { y: "center" }) });
      view.focus();
    },
    mark: (line) => view.dispatch({ effects: setWrong.of(line === null ? null : lineAt(line).from) }),
  };
}
