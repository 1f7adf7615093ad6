// numpy's default generator with seed 0, so that random draws are those of `harness compare`.
"use strict";
globalThis.harness ??= {};

harness.random = (() => {
  /** Return a function that gives numpy's next 32 random bits: PCG64 (XSL RR 128/64; O'Neill 2014), low half first. */
  function generator() {
    const split = (hex) => Uint32Array.from({ length: 8 }, (_, i) => parseInt(hex.slice(28 - 4 * i, 32 - 4 * i), 16));
    const multiplier = split("2360ed051fc65da44385df649fccf645");
    const increment = split("418ddadb3af71a82588133bc447873a9");
    const state = split("1aa1b5345996452d09585eb7a69561e3"); // np.random.PCG64(0).state
    let waiting = -1;
    const product = new Float64Array(8);
    return () => {
      if (waiting >= 0) {
        const bits = waiting;
        waiting = -1;
        return bits;
      }
      product.set(increment);
      for (let i = 0; i < 8; i++) {
        const limb = state[i];
        for (let j = 0; i + j < 8; j++) product[i + j] += limb * multiplier[j];
      }
      let carry = 0;
      for (let i = 0; i < 8; i++) {
        const value = product[i] + carry;
        state[i] = value % 65536;
        carry = Math.floor(value / 65536);
      }
      const turn = state[7] >>> 10;
      const high = ((state[7] ^ state[3]) * 65536 + (state[6] ^ state[2])) >>> 0;
      const low = ((state[5] ^ state[1]) * 65536 + (state[4] ^ state[0])) >>> 0;
      const [first, second] = turn & 32 ? [low, high] : [high, low];
      const bits = turn & 31;
      waiting = bits ? ((first >>> bits) | (second << (32 - bits))) >>> 0 : first;
      return bits ? ((second >>> bits) | (first << (32 - bits))) >>> 0 : second;
    };
  }

  /** Return a function that draws from 0 … count - 1 (Lemire 2019), as numpy does. */
  function below(next, count) {
    if (count === 1) return () => 0;
    const threshold = (0x100000000 - count) % count;
    return () => {
      for (;;) {
        const bits = next();
        const low = (bits & 0xffff) * count;
        const high = (bits >>> 16) * count + Math.floor(low / 65536);
        const rest = (high % 65536) * 65536 + (low % 65536);
        if (rest >= threshold) return Math.floor(high / 65536);
      }
    };
  }

  /** Return numpy's permutation of 0 … count - 1: swaps with places drawn by masking bits and rejecting. */
  function permutation(count) {
    const next = generator(),
      places = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const mask = 2 ** (32 - Math.clz32(i)) - 1;
      let j = next() & mask;
      while (j > i) j = next() & mask;
      [places[i], places[j]] = [places[j], places[i]];
    }
    return places;
  }

  return { generator, below, permutation };
})();
