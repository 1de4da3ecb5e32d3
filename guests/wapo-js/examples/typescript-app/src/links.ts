// The links, in memory: they are gone with the instance. The example key-value shows how to keep such things.

export interface Link {
  readonly id: string;
  readonly target: string;
  readonly visits: number;
}

const LINKS_MAX = 10_000;

export class LinkStore {
  readonly #links = new Map<string, Link>();

  // `null` where the text is no URL of the web.
  add(text: string): Link | null {
    const target = URL.parse(text.trim());
    if (target === null || !/^https?:$/.test(target.protocol)) return null;
    const known = [...this.#links.values()].find((link) => link.target === target.href);
    if (known !== undefined) return known;
    if (this.#links.size >= LINKS_MAX) this.#links.delete(this.#links.keys().next().value as string);
    const link: Link = { id: crypto.getRandomValues(new Uint8Array(5)).toHex(), target: target.href, visits: 0 };
    this.#links.set(link.id, link);
    return link;
  }

  visit(id: string): Link | null {
    const link = this.#links.get(id);
    if (link === undefined) return null;
    this.#links.set(id, { ...link, visits: link.visits + 1 });
    return link;
  }

  all(): readonly Link[] {
    return [...this.#links.values()];
  }
}
