// Paired comparisons of two checkpoints, from one value (or row of statistics) per document: the same numbers as
// `harness compare`. Mirrors harness/verdicts/stats: `means` (class Differences), `corpora` (class Corpora), `sums`
// (METRICS) and `gate.holm`; the definitions and their papers are there. tests/leaderboard/test_stats.py holds the two
// to each other.
//
// Not here: which documents belong together (compare.js), random numbers (random.js), or how a number is written.
"use strict";
globalThis.harness ??= {};

harness.stats = (() => {
  const { generator, below, permutation } = harness.random;
  const FEW = 200,
    FLIPS = 9999,
    ALL_FLIPS = 13,
    RESAMPLES = 10000,
    GROUPS = 2000;
  const Z_TWO_SIDED = 1.959963984540054,
    Z_POWER = 0.8416212335729143; // the normal quantiles of 0.975 and 0.8
  const LEAST_UNITS = Math.log2(1 / 0.025); // the fewest units that can be significant

  /** Return the sum of numbers with Neumaier's compensation, so that rounding does not add up. */
  function sum(numbers) {
    let total = 0,
      lost = 0;
    for (const number of numbers) {
      const next = total + number;
      lost += Math.abs(total) >= Math.abs(number) ? total - next + number : number - next + total;
      total = next;
    }
    return total + lost;
  }

  // --- distributions

  const LANCZOS = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];

  function logGamma(x) {
    if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
    let series = LANCZOS[0];
    for (let i = 1; i < 9; i++) series += LANCZOS[i] / (x - 1 + i);
    const t = x + 6.5;
    return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(series);
  }

  /** Return the regularised incomplete beta function I_x(a, b), by Lentz's continued fraction. */
  function beta(a, b, x) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - beta(b, a, 1 - x);
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
    const keep = (value) => (Math.abs(value) < 1e-300 ? 1e-300 : value);
    let c = 1,
      d = 1 / keep(1 - ((a + b) * x) / (a + 1)),
      fraction = d;
    for (let m = 1; m < 10000; m++) {
      const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      d = 1 / keep(1 + even * d);
      c = keep(1 + even / c);
      fraction *= d * c;
      const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 / keep(1 + odd * d);
      c = keep(1 + odd / c);
      const step = d * c;
      fraction *= step;
      if (Math.abs(step - 1) < 1e-15) break;
    }
    return front * fraction;
  }

  /** Return P(T ≤ t) of Student's t with `freedom` degrees of freedom. */
  function student(freedom, t) {
    const tail = 0.5 * beta(freedom / 2, 0.5, freedom / (freedom + t * t));
    return t < 0 ? tail : 1 - tail;
  }

  /** Return the quantile 0.975 of Student's t. */
  function studentQuantile(freedom) {
    let low = 0,
      high = 2;
    while (student(freedom, -high) > 0.025) high *= 2;
    for (let i = 0; i < 200 && high - low > 1e-14 * high; i++) {
      const middle = (low + high) / 2;
      if (student(freedom, -middle) > 0.025) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  // --- means

  class Differences {
    /** `baseline` and `candidate` have a number per document, more is better; `clusters` a cluster number, or null. */
    constructor(baseline, candidate, clusters = null, span = null) {
      Object.assign(this, { baseline, candidate, clusters, span, n: baseline.length });
      this.byDocument = baseline.map((value, i) => candidate[i] - value);
      this.lost = this.byDocument.filter((value) => value < 0).length;
      this.gained = this.byDocument.filter((value) => value > 0).length;
      this.scores = [sum(baseline) / this.n, sum(candidate) / this.n];
      this.difference = sum(this.byDocument) / this.n;
      this.units = clusters === null ? this.n : Math.max(...clusters) + 1;
      this.sums = clusters === null ? this.byDocument : added(this.byDocument, clusters, this.units);
      this.sizes =
        clusters === null
          ? this.byDocument.map(() => 1)
          : added(
              clusters.map(() => 1),
              clusters,
              this.units,
            );
      const isBit = (value) => value === 0 || value === 1;
      this.isBinary =
        clusters === null && (span === null || span === 1) && baseline.every(isBit) && candidate.every(isBit);
      const squares = sum(this.sums.map((value, i) => (value - this.difference * this.sizes[i]) ** 2));
      this.stderr = this.units < 2 ? null : Math.sqrt((squares * this.units) / (this.units - 1)) / this.n;
      this.freedom = this.n ** 2 / sum(this.sizes.map((size) => size ** 2)) - 1;
    }

    swapped() {
      return new Differences(this.candidate, this.baseline, this.clusters, this.span);
    }

    /** The 95 % interval of the difference as [low, high]; null if the variance cannot be estimated. */
    get interval() {
      if (this.isBinary) return [tangoLimit(this), -tangoLimit(this.swapped())];
      if (!this.stderr || this.freedom <= 0) return null;
      const half = studentQuantile(this.freedom) * this.stderr;
      return [this.difference - half, this.difference + half];
    }

    get pLoss() {
      if (!this.byDocument.some((value) => value !== 0)) return 1;
      if (this.isBinary) return this.lost === 0 ? 1 : beta(this.lost, this.gained + 1, 0.5);
      const moved = this.sums.filter((value) => value !== 0);
      if (moved.length < FEW) return flipped(moved);
      if (!this.stderr) return this.difference < 0 ? 0.5 ** moved.length : 1;
      return student(this.freedom, this.difference / this.stderr);
    }

    get p() {
      return Math.min(1, 2 * Math.min(this.pLoss, this.swapped().pLoss));
    }

    get needed() {
      let variance;
      if (this.isBinary) {
        variance = (this.lost + this.gained + 1) / (this.n + 1) - this.difference ** 2;
      } else {
        const shares = this.sums.map((value) => (value * this.units) / this.n);
        const largest = Math.max(this.span || 1, most(this.baseline), most(this.candidate));
        const span = (largest * Math.max(...this.sizes) * this.units) / this.n;
        variance = withOneMoreLoss(this.stderr ?? 0, shares, span) ** 2 * this.n;
      }
      return needed(this, variance);
    }
  }

  const most = (values) => values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);

  function added(values, groups, count) {
    const sums = new Array(count).fill(0);
    values.forEach((value, i) => (sums[groups[i]] += value));
    return sums;
  }

  function needed(pair, variance) {
    const distance = Math.abs(pair.difference);
    const documents = distance > 0 ? ((Z_TWO_SIDED + Z_POWER) ** 2 * variance) / distance ** 2 : Infinity;
    return Math.max(documents, (LEAST_UNITS * pair.n) / pair.units);
  }

  function withOneMoreLoss(stderr, shares, span) {
    const changed = shares.filter((share) => share !== 0).length;
    const lost = Math.sqrt((sum(shares.map((share) => share ** 2)) + span ** 2) / (changed + 1));
    return Math.hypot(stderr, lost / shares.length);
  }

  function flipped(sums) {
    const observed = sum(sums);
    const limit = observed + 1e-9 * sum(sums.map(Math.abs));
    let below = 0;
    if (sums.length <= ALL_FLIPS) {
      for (let signs = 0; signs < 2 ** sums.length; signs++) {
        let total = 0;
        for (let i = 0; i < sums.length; i++) total += (signs >> i) & 1 ? -sums[i] : sums[i];
        below += total <= limit;
      }
      return below / 2 ** sums.length;
    }
    const next = generator();
    for (let flip = 0; flip < FLIPS; flip++) {
      let total = 0;
      for (const value of sums) total += next() >= 0x80000000 ? value : -value;
      below += total <= limit;
    }
    const bound = observed < 0 ? Math.exp(-(observed ** 2) / (2 * sum(sums.map((value) => value ** 2)))) : 1;
    return Math.min((1 + below) / (FLIPS + 1), bound);
  }

  function tango({ n, gained, lost }, difference) {
    const b = -gained - lost + (2 * n - gained + lost) * difference;
    const c = -lost * difference * (1 - difference);
    const nuisance = (Math.sqrt(Math.max(b * b - 8 * n * c, 0)) - b) / (4 * n);
    const variance = n * (2 * nuisance + difference * (1 - difference));
    const distance = gained - lost - n * difference;
    if (variance <= 0) return distance ? Math.sign(distance) * Infinity : 0;
    return distance / Math.sqrt(variance);
  }

  function tangoLimit(pair) {
    if (pair.gained === 0 && pair.lost === pair.n) return -1;
    let low = -1,
      high = pair.difference;
    for (let i = 0; i < 200 && high - low > 1e-13; i++) {
      const middle = (low + high) / 2;
      if (tango(pair, middle) > Z_TWO_SIDED) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  // --- metrics of a corpus, from sums of statistics

  const quotient = (numerator, denominator) => (denominator ? numerator / denominator : 0);
  const parts = (sums, count) => {
    const width = sums.length / count;
    return Array.from({ length: count }, (_, i) => Array.from(sums.slice(i * width, (i + 1) * width)));
  };
  const f1 = (hits, predicted, expected) => quotient(2 * hits, predicted + expected);
  const meanF1 = (sums, isUsed) => {
    const [hits, predicted, expected] = parts(sums, 3);
    const used = hits.map((_, i) => i).filter((i) => isUsed(predicted[i], expected[i]));
    return quotient(sum(used.map((i) => f1(hits[i], predicted[i], expected[i]))), used.length);
  };

  const METRICS = {
    ratio: (sums) => quotient(sums[0], sums[1]),
    percentage: (sums) => 100 * quotient(sums[0], sums[1]),
    perplexity: (sums) => Math.exp(Math.min(-quotient(sums[0], sums[1]), 700)),
    bits: (sums) => -quotient(sums[0], sums[1]) / Math.log(2),
    ter: (sums) => 100 * (sums[1] > 0 ? sums[0] / sums[1] : sums[0] > 0 ? 1 : 0),
    bleu(sums) {
      const [predicted, expected] = sums;
      let logs = 0,
        halvings = 0,
        any = false;
      for (let order = 0; order < 4; order++) {
        const matches = sums[2 + order],
          ngrams = sums[6 + order];
        if (matches === 0 && ngrams > 0) halvings++;
        any ||= matches > 0;
        logs += ngrams > 0 ? Math.log((100 * (matches > 0 ? matches : 0.5 ** halvings)) / ngrams) : -Infinity;
      }
      if (!any) return 0;
      return (predicted < expected && predicted > 0 ? Math.exp(1 - expected / predicted) : 1) * Math.exp(logs / 4);
    },
    chrf(sums) {
      const [predicted, expected, correct] = parts(sums, 3);
      const used = predicted.map((_, i) => i).filter((i) => predicted[i] > 0 && expected[i] > 0);
      const [precision, recall] = [predicted, expected].map((count) =>
        quotient(sum(used.map((i) => correct[i] / count[i])), used.length),
      );
      return 100 * quotient(5 * precision * recall, 4 * precision + recall);
    },
    macro_f1_of_expected: (sums) => meanF1(sums, (_, expected) => expected > 0),
    macro_f1: (sums) => meanF1(sums, (predicted, expected) => predicted + expected > 0),
    micro_f1: (sums) => f1(...parts(sums, 3).map(sum)),
    weighted_f1(sums) {
      const [hits, predicted, expected] = parts(sums, 3);
      return quotient(sum(expected.map((count, i) => count * f1(hits[i], predicted[i], count))), sum(expected));
    },
    matthews(sums) {
      const [hits, predicted, expected] = parts(sums, 3);
      const total = sum(expected),
        dot = (a, b) => sum(a.map((value, i) => value * b[i]));
      const variances = (total ** 2 - dot(predicted, predicted)) * (total ** 2 - dot(expected, expected));
      return quotient(sum(hits) * total - dot(predicted, expected), Math.sqrt(Math.max(variances, 0)));
    },
  };

  // --- metrics of a whole corpus, compared

  class Corpora {
    /** `baseline` and `candidate` have a row of statistics per document; `metric` maps sums to a number, more better. */
    constructor(baseline, candidate, metric, clusters = null) {
      Object.assign(this, { baseline, candidate, metric, clusters, n: baseline.length, width: baseline[0].length });
      this.units = clusters === null ? this.n : Math.max(...clusters) + 1;
      this.totals = [baseline, candidate].map((rows) => totals(rows, this.width));
      this.scores = this.totals.map(metric);
      this.difference = this.scores[1] - this.scores[0];
      this.byDocument = this.changes(baseline, candidate);
      this.lost = this.byDocument.filter((value) => value < 0).length;
      this.gained = this.byDocument.filter((value) => value > 0).length;
    }

    changes(baseline, candidate) {
      const [total] = this.totals;
      const before = this.metric(total),
        slack = 1e-12 * Math.max(1, Math.abs(this.scores[0]));
      return baseline.map((row, i) => {
        if (row.every((value, k) => value === candidate[i][k])) return 0;
        const change = this.metric(total.map((value, k) => value - row[k] + candidate[i][k])) - before;
        return Math.abs(change) < slack ? 0 : change;
      });
    }

    byCluster(rows) {
      return this.clusters === null ? rows : grouped(rows, this.clusters, this.units, this.width);
    }

    /** The statistics of each unit, or of each of `GROUPS` random groups of units. */
    get drawn() {
      if (this.units <= GROUPS) return [this.baseline, this.candidate].map((rows) => this.byCluster(rows));
      const places = permutation(this.units);
      const groups = (this.clusters ?? this.baseline.map((_, i) => i)).map((unit) => places[unit] % GROUPS);
      return [this.baseline, this.candidate].map((rows) => grouped(rows, groups, GROUPS, this.width));
    }

    get resampled() {
      if (this.memory) return this.memory;
      const [baseline, candidate] = this.drawn;
      const draw = below(generator(), baseline.length);
      const sums = [new Float64Array(this.width), new Float64Array(this.width)];
      const values = new Float64Array(RESAMPLES);
      for (let i = 0; i < RESAMPLES; i++) {
        sums[0].fill(0);
        sums[1].fill(0);
        for (let unit = 0; unit < baseline.length; unit++) {
          const place = draw(),
            old = baseline[place],
            fresh = candidate[place];
          for (let k = 0; k < this.width; k++) {
            sums[0][k] += old[k];
            sums[1][k] += fresh[k];
          }
        }
        values[i] = this.metric(sums[1]) - this.metric(sums[0]);
      }
      return (this.memory = values);
    }

    get stderr() {
      const count = Math.min(this.units, GROUPS),
        mean = sum(this.resampled) / RESAMPLES;
      const spread = Math.sqrt(sum(this.resampled.map((value) => (value - mean) ** 2)) / RESAMPLES);
      return count > 1 && spread > 0 ? spread * Math.sqrt(count / (count - 1)) : null;
    }

    get interval() {
      if (this.stderr === null) return null;
      const sorted = this.resampled.toSorted();
      return [0.025, 0.975].map((share) => {
        const place = share * (RESAMPLES - 1),
          low = Math.floor(place);
        return sorted[low] + (place - low) * (sorted[Math.min(low + 1, RESAMPLES - 1)] - sorted[low]);
      });
    }

    get p() {
      const [baseline, candidate] = this.drawn;
      const [old, fresh] = [baseline, candidate].map((rows) => totals(rows, this.width));
      const moves = candidate.map((row, i) => row.map((value, k) => value - baseline[i][k]));
      const next = generator(),
        moved = new Float64Array(this.width);
      const slack = 1e-9 * Math.max(1, Math.abs(this.difference));
      let bits = 0,
        left = 0,
        worse = 0,
        better = 0;
      for (let i = 0; i < RESAMPLES; i++) {
        moved.fill(0);
        for (const move of moves) {
          if (!left) [bits, left] = [next(), 4];
          if (bits & 128) for (let k = 0; k < this.width; k++) moved[k] += move[k];
          bits >>>= 8;
          left--;
        }
        const swapped =
          this.metric(fresh.map((value, k) => value - moved[k])) - this.metric(old.map((value, k) => value + moved[k]));
        worse += swapped <= this.difference + slack;
        better += swapped >= this.difference - slack;
      }
      return Math.min(1, (2 * (1 + Math.min(worse, better))) / (RESAMPLES + 1));
    }

    get needed() {
      const changes =
        this.clusters === null
          ? this.byDocument
          : this.changes(this.byCluster(this.baseline), this.byCluster(this.candidate));
      const rows = this.byCluster(this.baseline).map((row) => row.map(Math.abs));
      const total = totals(rows, this.width),
        used = total.filter((value) => value !== 0).length;
      const weigh = (row) => sum(row.map((value, k) => (total[k] > 0 ? value / (total[k] * used) : 0)));
      const share = used ? Math.max(...rows.map(weigh)) : 1;
      const span = Math.abs(this.scores[0]) * share * this.units;
      const shares = changes.map((value) => value * this.units);
      return needed(this, withOneMoreLoss(this.stderr ?? 0, shares, span) ** 2 * this.n);
    }
  }

  function totals(rows, width) {
    const total = new Array(width).fill(0);
    for (const row of rows) for (let k = 0; k < width; k++) total[k] += row[k];
    return total;
  }

  function grouped(rows, groups, count, width) {
    const sums = Array.from({ length: count }, () => new Array(width).fill(0));
    rows.forEach((row, i) => row.forEach((value, k) => (sums[groups[i]][k] += value)));
    return sums;
  }

  // --- several tests

  /** Return p-values corrected for their number (Holm 1979), in their order. */
  function holm(values) {
    const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b] || a - b);
    const corrected = new Array(values.length);
    let largest = 0;
    order.forEach((place, i) => {
      largest = Math.max(largest, values[place] * (values.length - i));
      corrected[place] = Math.min(largest, 1);
    });
    return corrected;
  }

  return { Differences, Corpora, METRICS, holm, sum };
})();
