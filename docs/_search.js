// What Sphinx's search makes of its results (`html_search_scorer`): pages first, then what one
// calls, and what is met only as a result last; with the first sentence of each docstring.
var Scorer = {
  score: (result) => {
    const [, name, , , score] = result;
    const sentence = (typeof SUMMARIES !== "undefined" && SUMMARIES[name]) || "";
    if (sentence) {
      result[3] = sentence;
    }
    const isInner = name.includes("._");
    result[1] = name.replace(/^cooperative_aio\.(\w+\.)*_\w+\./, "");
    return isInner ? score - 12 : score;
  },
  objNameMatch: 11,
  objPartialMatch: 2,
  objPrio: { 0: 8, 1: 2, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 10,
  term: 5,
  partialTerm: 2,
};
