// Notes in memory: gone with the instance.

export interface Note {
  id: number;
  text: string;
}

// A service that every client may write to must not grow for ever.
const NOTES_MAX = 1000;

export class Notes {
  #notes: Note[] = [];
  #last = 0;

  add(text: string): Note {
    const note = { id: ++this.#last, text };
    this.#notes.push(note);
    if (this.#notes.length > NOTES_MAX) this.#notes.shift();
    return note;
  }

  get(id: number): Note | undefined {
    return this.#notes.find((note) => note.id === id);
  }

  all(): Note[] {
    return this.#notes;
  }

  break(): never {
    throw new Error("broken on purpose");
  }
}
