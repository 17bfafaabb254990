/** How well the colours of the page can be told from one another. */

/** Pairs of colours of the page, their contrast, and what it has to be; runs in the page. */
export function contrasts(): [pair: string, ratio: number, least: number][] {
  const luminance = (name: string) => {
    const probe = document.createElement("i");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const parts = getComputedStyle(probe).color.match(/[\d.]+/g)!.slice(0, 3).map(Number);
    probe.remove();
    const [r, g, b] = parts.map((part) => {
      const share = part / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a: string, b: string) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = ["ink", "soft", "accent", "warn", "error"].flatMap((ink) =>
    ["page", "card"].map((page) => [`${ink} on ${page}`, ratio(ink, page), 4.5] as const)
  );
  return [
    ...texts.map(([pair, value, least]): [string, number, number] => [pair, value, least]),
    ["on-accent on accent", ratio("on-accent", "accent"), 4.5],
    ["ink on warn-page", ratio("ink", "warn-page"), 4.5],
    // Edges of what can be operated.
    ["edge on page", ratio("edge", "page"), 3],
    ["edge on card", ratio("edge", "card"), 3],
  ];
}
