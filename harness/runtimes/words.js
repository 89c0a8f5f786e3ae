// Reads the token ids off a text of the synthetic vocabulary (harness/weights/tokenizer.py): each word
// is a numeral in bijective base 16, in the letters a to p, behind a blank.

export const FIRST_WORD = 279;

/**
 * The ids of the words in a text; -1 for everything else that stands between blanks.
 * @param {string} text
 * @returns {number[]}
 */
export function idsOf(text) {
  return text
    .split(/\s+/)
    .filter(Boolean)
    .map((part) => {
      if (!/^[a-p]+$/.test(part)) return -1;
      let number = 0;
      for (const letter of part) number = number * 16 + letter.charCodeAt(0) - 96;
      return FIRST_WORD + number - 1;
    });
}
