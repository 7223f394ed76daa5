// Falsified instances in pictures: those of the rows that the filters leave.

const CARDS = 6;

class Gallery {
  constructor(data, section) {
    this.data = data;
    this.section = section;
    this.cards = section.querySelector(".cards");
    this.more = make("button", { type: "button", class: "plain" }, "Show more");
    this.more.addEventListener("click", () => this.add(2 * CARDS));
    section.append(this.more);
  }

  // Of filters that change while the pictures are read only the last are shown.
  async show(instances) {
    this.wanted = instances;
    await this.data.whole();
    if (this.wanted === instances) this.draw(instances);
  }

  // First one of each network and family, then the others.
  draw(instances) {
    const drawable = instances.map((number) => [number, this.data.instances[number]])
      .filter(([, { picture }]) => picture && picture.witness && picture.witness.verdict !== "invalid");
    const kinds = new Set(), first = [], others = [];
    for (const one of drawable) {
      const kind = JSON.stringify(one[1].facts.filter(([name]) => ["family", "network"].includes(name)));
      (kinds.has(kind) ? others : first).push(one);
      kinds.add(kind);
    }
    this.left = [...first, ...others];
    this.cards.replaceChildren(...(this.left.length ? [] : [make("p", {}, instances.length < this.data.instances.length ? "No instance that the filters leave has a picture of a witness." : "No instance has a picture of a witness.")]));
    this.add(CARDS);
  }

  add(count) {
    this.cards.append(...this.left.splice(0, count).map(([number, instance]) => this.card(number, instance)));
    this.more.hidden = !this.left.length;
  }

  card(number, instance) {
    const { picture } = instance, { witness } = picture;
    const link = make("a", { href: addressOf(this.data, number) }, instance.headline);
    const shown = picture.shape[1] === 1 ? [entryTable(this.data, picture, 5, instance.name), make("p", {}, changeSentence(picture))] : imageFigures(this.data, picture, true);
    return make("article", {}, make("h3", {}, link), ...shown,
      make("p", { class: "note" }, `${Object.fromEntries(instance.facts)["data set"]}; found by ${witness.solver}`));
  }
}
