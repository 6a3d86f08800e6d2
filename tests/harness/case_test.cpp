// Case lines, sweeps, path variants, lists of cases: what they accept, what they print, and what
// they say when they refuse.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "harness/case/case_file.hpp"
#include "harness/case/case_line.hpp"
#include "harness/case/error.hpp"
#include "harness/case/key.hpp"
#include "harness/case/nearest.hpp"
#include "harness/case/path_variant.hpp"
#include "harness/case/sweep.hpp"
#include "harness/case/text.hpp"
#include "tests/harness/temporary_folder.hpp"

namespace groundstate::harness {
namespace {

namespace fs = std::filesystem;

const std::vector<Key> problem_keys = {
    {"B", "1", Key::Integer{1, 65536}, "sequences"},
    {"T", "64", Key::Integer{0, 1 << 20}, "tokens"},
    {"HV", "", Key::Integer{1, 4096}, "value heads; H when absent"},
    {"K", "64", Key::Integer{1, 1024}, "key width"},
    {"V", "64", Key::Integer{1, 1024}, "value width"},
    {"lengths", "", Key::IntegerList{{0, 1 << 20}}, "packed sequences"},
    {"gate", "normal", Key::Word{{"open", "slow", "normal", "growth"}}, "regime of g"},
    {"gamma", "retnet", Key::WordOrReal{{"retnet", "lightning", "alibi"}}, "decay per head"},
    {"scale", "1.0", Key::Real{0, 8}, "of the scores"},
    {"seed", "0", Key::Integer{}, "of the generator"},
};
const std::vector<Grammar> grammars = {
    {"simple_gla", problem_keys, {"chunk", "segments"}},
    {"simple_gla.backward", problem_keys, {"chunk"}},
};
const std::vector<Key> path_keys = {
    {"chunk", "64", Key::Integer{1, 4096}, "tokens per chunk"},
    {"num_steps", "2", Key::Integer{1, 8}, "stages"},
    {"dh_dtype", "fp32", Key::Word{{"fp32", "bf16"}}, "of dh"},
};

// What the UsageError of a call says; a call that accepts says "accepted".
template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}
std::string refusal_of_case(std::string_view text) {
  return refusal([&] { parse_case(text, grammars); });
}
std::string refusal_of_sweep(std::string_view text) {
  return refusal([&] { expand(text, grammars); });
}
std::string canonical(std::string_view text) { return parse_case(text, grammars).canonical(); }
std::vector<std::string> expanded(std::string_view text) {
  std::vector<std::string> lines;
  for (const Case& each : expand(text, grammars)) lines.push_back(each.canonical());
  return lines;
}
using Lines = std::vector<std::string>;

TEST(Text, ShownTextIsShortAndPrintable) {
  EXPECT_EQ(shown("T=5"), "T=5");
  EXPECT_EQ(shown(std::string_view("a\0\x1b[1m", 6)), "a\\x00\\x1b[1m");
  EXPECT_EQ(shown(std::string(1 << 20, 'x')), std::string(60, 'x') + "...");
}

TEST(Text, ReadableIsWellFormedUtf8WithoutControlCharacters) {
  for (const std::string text : {"plain\ttext\r\n", "\u00e4 \u2264 \U0001f600", ""})
    EXPECT_EQ(readable_prefix(text), text.size());
  for (const std::string& tail :
       {std::string("\0", 1), std::string("\x1b"), std::string("\x7f"), std::string("\x80"),
        std::string("\xc3"), std::string("\xc0\xaf"), std::string("\xc2\x85"),
        std::string("\xe0\x80\xaf"), std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"),
        std::string("\xff"), std::string("\xe2\x89z")})
    EXPECT_EQ(readable_prefix("ab" + tail), 2u) << shown(tail);
}

TEST(Nearest, FindsTheWordThatWasMeantAndNothingWhenNoneIsNear) {
  const Lines known = {"gate", "gamma", "lengths", "T", "HV"};
  EXPECT_EQ(nearest("gaet", known), "gate");
  EXPECT_EQ(nearest("length", known), "lengths");
  EXPECT_EQ(nearest("t", known), "T");
  EXPECT_EQ(nearest("hv", known), "HV");
  EXPECT_EQ(nearest("banana", known), "");
  EXPECT_EQ(nearest("gate", {}), "");
  EXPECT_EQ(nearest(std::string(1 << 20, 'g'), known), "");
  EXPECT_EQ(did_you_mean("gaet", known), "; did you mean 'gate'?");
  EXPECT_EQ(did_you_mean("banana", known), "");
}

TEST(Key, ValuesHaveOneText) {
  const Key integer("T", "", Key::Integer{-5, 100}, "");
  EXPECT_EQ(integer.check("007"), "7");
  EXPECT_EQ(integer.check("-5"), "-5");
  EXPECT_EQ(integer.check("-0"), "0");
  const Key seed("seed", "0", Key::Integer{}, "");
  EXPECT_EQ(seed.check("9223372036854775807"), "9223372036854775807");
  const Key real("scale", "", Key::Real{}, "");
  EXPECT_EQ(real.check("0.10"), "0.1");
  EXPECT_EQ(real.check("1e0"), "1");
  EXPECT_EQ(real.check("-0.0"), "0");
  EXPECT_EQ(real.check("0.1000000000000000055511151231257827"), "0.1");
  EXPECT_EQ(real.check(real.check("100000")), real.check("100000"));
  const Key list("lengths", "", Key::IntegerList{{0, 20}}, "");
  EXPECT_EQ(list.check("05+0+17"), "5+0+17");
  EXPECT_EQ(list.check("3"), "3");
  const Key gamma("gamma", "", Key::WordOrReal{{"retnet"}}, "");
  EXPECT_EQ(gamma.check("retnet"), "retnet");
  EXPECT_EQ(gamma.check("0.50"), "0.5");
  EXPECT_EQ(Key("scale", "1.0", Key::Real{0, 8}, "").default_value, "1");
}

TEST(Key, RefusalsNameKeyValueAndWhatIsAccepted) {
  const auto of = [](const Key::Domain& domain, std::string_view value) {
    const Key key("k", "", domain, "");
    return refusal([&] { key.check(value); });
  };
  EXPECT_EQ(of(Key::Integer{0, 9}, "banana"), "k=banana: expected an integer in [0, 9]");
  EXPECT_EQ(of(Key::Integer{}, "-1"), "k=-1: expected an integer >= 0");
  EXPECT_EQ(of(Key::Word{{"open", "slow"}}, "slwo"),
            "k=slwo: expected open|slow; did you mean 'slow'?");
  EXPECT_EQ(of(Key::WordOrReal{{"retnet", "alibi"}}, "alibu"),
            "k=alibu: expected retnet|alibi or a finite number; did you mean 'alibi'?");
  EXPECT_EQ(of(Key::IntegerList{{0, 9}}, "5++3"),
            "k=5++3: expected integers in [0, 9] joined by '+'");
  EXPECT_EQ(of(Key::Real{0, 0.5}, "0.6"), "k=0.6: expected a finite number in [0, 0.5]");
  for (const std::string value :
       {"", " 5", "5 ", "+5", "0x5", "5.0", "10", "99999999999999999999", "5+5"})
    EXPECT_NE(of(Key::Integer{0, 9}, value), "accepted") << value;
  EXPECT_NE(of(Key::Integer{}, "9223372036854775808"), "accepted");
  for (const std::string value : {"", "inf", "-inf", "nan", "1e400", "1e", "0x1p3", "1,5"})
    EXPECT_NE(of(Key::Real{}, value), "accepted") << value;
}

TEST(Key, WrongDeclarationsAreErrorsOfTheProgram) {
  EXPECT_THROW(Key("T", "-1", Key::Integer{0, 9}, ""), std::logic_error);
  EXPECT_THROW(Key("T=", "1", Key::Integer{0, 9}, ""), std::logic_error);
  EXPECT_THROW(Key("", "1", Key::Integer{0, 9}, ""), std::logic_error);
  EXPECT_THROW(Key("gate", "a", Key::Word{{"a", "b,c"}}, ""), std::logic_error);
}

TEST(CaseLine, OmitsDefaultsAndKeepsDeclaredOrder) {
  EXPECT_EQ(canonical("simple_gla"), "simple_gla");
  EXPECT_EQ(canonical("  simple_gla.backward\tgate=slow  T=1027 B=2 "),
            "simple_gla.backward B=2 T=1027 gate=slow");
  EXPECT_EQ(canonical("simple_gla T=064 scale=1e0 gate=normal seed=0"), "simple_gla");
  EXPECT_EQ(canonical(canonical("simple_gla gamma=1e5 lengths=05+0")),
            "simple_gla lengths=5+0 gamma=1e+05");
}

TEST(CaseLine, IdIsTheDigestOfTheCanonicalLine) {
  // echo -n 'simple_gla T=1027 gate=slow' | sha256sum
  EXPECT_EQ(parse_case("simple_gla gate=slow K=64 T=1027", grammars).id(), "6144d06ed7d5bf4d");
}

TEST(CaseLine, ValuesAreReadByType) {
  const Case value =
      parse_case("simple_gla T=65 lengths=5+0+17 gamma=0.25 seed=9223372036854775807", grammars);
  EXPECT_EQ(value.operator_name(), "simple_gla");
  EXPECT_EQ(value.integer("T"), 65);
  EXPECT_EQ(value.integer("B"), 1);
  EXPECT_EQ(value.integer("seed"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(value.real("gamma"), 0.25);
  EXPECT_EQ(value.real("scale"), 1.0);
  EXPECT_EQ(value.integers("lengths"), (std::vector<std::int64_t>{5, 0, 17}));
  EXPECT_EQ(value.get("HV"), "");
  EXPECT_TRUE(value.is_explicit("T"));
  EXPECT_FALSE(value.is_explicit("B"));
  EXPECT_TRUE(value.without("lengths").integers("lengths").empty());
  EXPECT_THROW(value.integer("HV"), std::logic_error);
  EXPECT_THROW(value.real("gate"), std::logic_error);
  EXPECT_THROW(value.get("chunk"), std::logic_error);
}

TEST(CaseLine, ChangedCopiesAreCheckedAndLeaveTheOriginal) {
  const Case value = parse_case("simple_gla T=65", grammars);
  EXPECT_EQ(value.with("gate", "slow").canonical(), "simple_gla T=65 gate=slow");
  EXPECT_EQ(value.with("T", "064"), Case(grammars[0]));
  EXPECT_EQ(value.without("T"), Case(grammars[0]));
  EXPECT_EQ(value.canonical(), "simple_gla T=65");
  EXPECT_EQ(refusal([&] { value.with("T", "-1"); }), "T=-1: expected an integer in [0, 1048576]");
  EXPECT_EQ(refusal([&] { value.with("gat", "slow"); }),
            "simple_gla has no key 'gat', only B T HV K V lengths gate gamma scale seed; "
            "did you mean 'gate'?");
}

TEST(CaseLine, RefusalsNameTheWordAndTheNearestKnownOne) {
  EXPECT_EQ(refusal_of_case(""), "the case line is empty");
  EXPECT_EQ(refusal_of_case("simpel_gla T=5"),
            "there is no operator 'simpel_gla', only simple_gla simple_gla.backward; "
            "did you mean 'simple_gla'?");
  EXPECT_EQ(refusal_of_case("simple_gla dtpye=bf16"),
            "simple_gla has no key 'dtpye', only B T HV K V lengths gate gamma scale seed");
  EXPECT_EQ(
      refusal_of_case("simple_gla T=5 slow"),
      "'slow' is not key=value; keys of simple_gla: B T HV K V lengths gate gamma scale seed");
  EXPECT_EQ(refusal_of_case("simple_gla T=5 T=5"), "T is given twice");
  EXPECT_EQ(refusal_of_case("simple_gla gate=slwo"),
            "gate=slwo: expected open|slow|normal|growth; did you mean 'slow'?");
  EXPECT_EQ(refusal_of_case("simple_gla lengths="),
            "lengths=: expected integers in [0, 1048576] joined by '+'");
  EXPECT_EQ(refusal_of_case("simple_gla chunk=128"),
            "chunk is a path key: write --path 'chunked[chunk=128]' (or the path that is meant)");
  EXPECT_NE(refusal_of_case("simple_gla =5"), "accepted");
}

TEST(CaseLine, SweepsAreNotOneCase) {
  EXPECT_EQ(refusal_of_case("simple_gla T=63,64"), "T=63,64 is a sweep; one case is expected here");
  EXPECT_EQ(refusal_of_case("simple_gla T=0:9"), "T=0:9 is a sweep; one case is expected here");
  EXPECT_EQ(refusal_of_case("simple_gla T/V=6/1"), "T/V=6/1 is a sweep; one case is expected here");
}

TEST(Sweep, LastKeyVariesFastest) {
  EXPECT_EQ(expanded("simple_gla gate=slow,open T=1,2"),
            (Lines{"simple_gla T=1 gate=slow", "simple_gla T=2 gate=slow",
                   "simple_gla T=1 gate=open", "simple_gla T=2 gate=open"}));
}

TEST(Sweep, RangesIncludeBothEnds) {
  EXPECT_EQ(expanded("simple_gla T=0:130").size(), 131u);
  EXPECT_EQ(expanded("simple_gla T=0:6:3,9"),
            (Lines{"simple_gla T=0", "simple_gla T=3", "simple_gla T=6", "simple_gla T=9"}));
  EXPECT_EQ(expanded("simple_gla T=7:7"), Lines{"simple_gla T=7"});
  EXPECT_EQ(expanded("simple_gla seed=9223372036854775806:9223372036854775807").size(), 2u);
  EXPECT_EQ(expanded("simple_gla seed=0:9223372036854775807:9223372036854775807").size(), 2u);
}

TEST(Sweep, RangesThatDoNotEndWhereTheySayAreRefused) {
  EXPECT_EQ(refusal_of_sweep("simple_gla T=0:130:16"),
            "T=0:130:16: steps of 16 from 0 do not reach 130");
  EXPECT_EQ(refusal_of_sweep("simple_gla T=9:5"), "T=9:5: a range does not run backwards");
  EXPECT_EQ(refusal_of_sweep("simple_gla T=0:9:0"),
            "T=0:9:0: the step of a range is an integer >= 1");
  EXPECT_EQ(refusal_of_sweep("simple_gla T=0:9:3:1"),
            "T=0:9:3:1: a range is first:last or first:last:step");
  EXPECT_EQ(refusal_of_sweep("simple_gla T=0:x"), "T=x: expected an integer in [0, 1048576]");
  EXPECT_EQ(refusal_of_sweep("simple_gla gamma=0:1"),
            "gamma=0:1: expected retnet|lightning|alibi or a finite number");
}

TEST(Sweep, JoinedKeysMoveTogether) {
  EXPECT_EQ(expanded("simple_gla T/V=63/16,65/32 K=8,16"),
            (Lines{"simple_gla T=63 K=8 V=16", "simple_gla T=63 K=16 V=16",
                   "simple_gla T=65 K=8 V=32", "simple_gla T=65 K=16 V=32"}));
  EXPECT_EQ(refusal_of_sweep("simple_gla T/V=64/16,65"),
            "T/V=64/16,65: '65' is not 2 values joined by '/'");
  EXPECT_EQ(refusal_of_sweep("simple_gla T/T=1/2"), "T is given twice");
  EXPECT_EQ(refusal_of_sweep("simple_gla T/chunk=64/16"),
            "chunk is a path key: write --path 'chunked[chunk=64/16]' (or the path that is meant)");
}

TEST(Sweep, ListsInsideASweepUsePlus) {
  EXPECT_EQ(expanded("simple_gla lengths=5+0+17,8"),
            (Lines{"simple_gla lengths=5+0+17", "simple_gla lengths=8"}));
}

TEST(Sweep, EqualCasesAreKeptOnce) {
  EXPECT_EQ(expanded("simple_gla T=65,64,065,64"), (Lines{"simple_gla T=65", "simple_gla"}));
}

TEST(Sweep, EmptyEntriesAreRefused) {
  EXPECT_EQ(refusal_of_sweep("simple_gla T=1,,2"), "T=: expected an integer in [0, 1048576]");
  EXPECT_EQ(refusal_of_sweep("simple_gla lengths=,8"),
            "lengths=: expected integers in [0, 1048576] joined by '+'");
}

TEST(Sweep, MoreThanAMillionCasesAreRefusedBeforeTheyAreMade) {
  EXPECT_EQ(refusal_of_sweep("simple_gla T=0:999 seed=0:1000"),
            "simple_gla T=0:999 seed=0:1000: a sweep of more than 1000000 cases");
  EXPECT_EQ(refusal_of_sweep("simple_gla seed=0:9223372036854775807"),
            "seed=0:9223372036854775807: a sweep of more than 1000000 cases");
  EXPECT_EQ(refusal_of_sweep("simple_gla seed=0:999999,5"),
            "seed=0:999999,5: a sweep of more than 1000000 cases");
}

TEST(PathVariant, HasOneText) {
  const auto text = [](std::string_view given) {
    return parse_path_variant(given, path_keys).text(path_keys);
  };
  for (const std::string same : {"recurrent", "gpu.chunked", "chunked:single", "chunked[chunk=128]",
                                 "chunked[chunk=128,dh_dtype=bf16]:tensorcore-bf16"})
    EXPECT_EQ(text(same), same);
  EXPECT_EQ(text("chunked[num_steps=4,chunk=0128]:single"),
            "chunked[chunk=128,num_steps=4]:single");
  EXPECT_EQ(text("chunked[chunk=64]"), "chunked");
  EXPECT_EQ(parse_path_variant("chunked[chunk=064]", path_keys), (PathVariant{"chunked", {}, ""}));
}

TEST(PathVariant, KeysAreReadByType) {
  const PathVariant variant = parse_path_variant("chunked[chunk=128]", path_keys);
  EXPECT_EQ(variant.integer("chunk", path_keys), 128);
  EXPECT_EQ(variant.integer("num_steps", path_keys), 2);
  EXPECT_EQ(variant.get("dh_dtype", path_keys), "fp32");
  EXPECT_THROW(variant.integer("dh_dtype", path_keys), std::logic_error);
  EXPECT_THROW(variant.get("tile", path_keys), std::logic_error);
}

TEST(PathVariant, RefusalsNameThePartAtFault) {
  const auto of = [](std::string_view text) {
    return refusal([&] { parse_path_variant(text, path_keys); });
  };
  const std::string form = "; the form is path[key=value,...]:recipe";
  EXPECT_EQ(of("chunked[chnk=128]"),
            "path chunked has no key 'chnk', only chunk num_steps dh_dtype; did you mean 'chunk'?");
  EXPECT_EQ(of("chunked[chunk=0]"), "chunk=0: expected an integer in [1, 4096]");
  EXPECT_EQ(of("chunked[chunk=128"), "path 'chunked[chunk=128': '[' without ']'" + form);
  EXPECT_EQ(of("chunked[]"), "path 'chunked[]': '' is not key=value" + form);
  EXPECT_EQ(of("chunked[chunk=8,chunk=8]"),
            "path 'chunked[chunk=8,chunk=8]': chunk is given twice" + form);
  EXPECT_EQ(of("chunked[chunk=8]x"),
            "path 'chunked[chunk=8]x': 'x' is not ':' and the name of a recipe" + form);
  EXPECT_EQ(of("chunked:"), "path 'chunked:': ':' is not ':' and the name of a recipe" + form);
  EXPECT_EQ(of(""), "path '': no name of a path" + form);
  EXPECT_EQ(refusal([] { parse_path_variant("scan[chunk=8]", {}); }),
            "path scan has no keys, not 'chunk'");
}

class CaseFile : public TemporaryFolder {
 protected:
  std::vector<CaseEntry> read(const std::string& text) const {
    return read_case_file(write("list.cases", text), grammars);
  }
  // The refusal of a text, with the folder left out.
  std::string refusal_of(const std::string& text) const {
    return refusal_of_file(write("list.cases", text));
  }
  std::string refusal_of_file(const fs::path& path) const {
    std::string message = refusal([&] { read_case_file(path, grammars); });
    const std::string prefix = folder_.string() + "/";
    for (std::size_t at; (at = message.find(prefix)) != message.npos;)
      message.erase(at, prefix.size());
    return message;
  }
};

TEST_F(CaseFile, EntriesHaveAReasonAndAPlace) {
  const auto entries = read(
      "\xef\xbb\xbf# boundaries\r\n"
      "\r\n"
      "simple_gla T=63,65 | around a chunk: |g| > 80, issue #389\r\n"
      "simple_gla.backward | \u2264 one chunk\n");
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].value.canonical(), "simple_gla T=63");
  EXPECT_EQ(entries[1].value.canonical(), "simple_gla T=65");
  EXPECT_EQ(entries[1].reason, "around a chunk: |g| > 80, issue #389");
  EXPECT_EQ(entries[1].source, (folder_ / "list.cases").string() + ":3");
  EXPECT_EQ(entries[2].reason, "\u2264 one chunk");
  EXPECT_TRUE(entries[2].raised.empty());
}

TEST_F(CaseFile, RaisedLimitsHaveFactorExpiryAndReason) {
  const auto entries = read(
      "simple_gla T=65 gate=growth | overflow in masked entries\n"
      "    | raise chunked[chunk=128]:single/max x2 until 2027-06-01: exponentiated before the "
      "mask\n"
      "# a comment between\n"
      "    | raise gpu.chunked/o.median x1.5 until 2027-06-02: the same: here too\n"
      "    | raise gpu.chunked/A.99.9% x1.5 until 2027-06-02: the points\n");
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].reason, "overflow in masked entries");
  ASSERT_EQ(entries[0].raised.size(), 3u);
  EXPECT_EQ(entries[0].raised[2].clause, "A.99.9%");
  const RaisedLimit& limit = entries[0].raised[0];
  EXPECT_EQ(limit.path, "chunked[chunk=128]:single");
  EXPECT_EQ(limit.clause, "max");
  EXPECT_EQ(limit.factor, 2);
  EXPECT_EQ(limit.reason, "exponentiated before the mask");
  EXPECT_EQ(limit.source, entries[0].source);
  using namespace std::chrono_literals;
  EXPECT_FALSE(limit.expired_on(2027y / 6 / 1));
  EXPECT_TRUE(limit.expired_on(2027y / 6 / 2));
  EXPECT_EQ(entries[0].raised[1].clause, "o.median");
  EXPECT_EQ(entries[0].raised[1].factor, 1.5);
  EXPECT_EQ(entries[0].raised[1].reason, "the same: here too");
}

TEST_F(CaseFile, WrongRaisedLimitsNameThePart) {
  const std::string form =
      "; the form is 'raise <path>/<clause> x<factor> until <year-month-day>: <reason>'";
  const auto of = [&](const std::string& field) {
    return refusal_of("simple_gla | why | " + field + "\n");
  };
  EXPECT_EQ(of("later"), "list.cases:1: 'later': not a raised limit" + form);
  EXPECT_EQ(of("raise a/max x2 until 2027-06-01:"),
            "list.cases:1: 'raise a/max x2 until 2027-06-01:': not a raised limit" + form);
  EXPECT_EQ(of("raise a x2 until 2027-06-01: b"),
            "list.cases:1: 'raise a x2 until 2027-06-01: b': no clause after the path" + form);
  EXPECT_EQ(
      of("raise a/max x1 until 2027-06-01: b"),
      "list.cases:1: 'raise a/max x1 until 2027-06-01: b': x1 is not x and a number > 1" + form);
  EXPECT_EQ(
      of("raise a/max x2 until 2027-02-29: b"),
      "list.cases:1: 'raise a/max x2 until 2027-02-29: b': 2027-02-29 is no day like 2027-06-01" +
          form);
  EXPECT_EQ(of("raise a[/max x2 until 2027-06-01: b"),
            "list.cases:1: path 'a[': '[' without ']'; the form is path[key=value,...]:recipe");
}

TEST_F(CaseFile, ALimitOfACaseIsRaisedOnce) {
  EXPECT_EQ(refusal_of("simple_gla T=1,2 | a | raise scan/max x2 until 2027-06-01: b\n"
                       "simple_gla T=2 | c | raise scan/max x3 until 2027-06-01: d\n"),
            "list.cases:2: scan/max of simple_gla T=2 is already raised at list.cases:1");
}

TEST_F(CaseFile, ACaseThatIsListedTwiceIsKeptInItsFirstPlace) {
  const auto entries = read(
      "simple_gla T=1,2 | short\n"
      "simple_gla T=3 | three\n"
      "simple_gla T=2 | two | raise scan/max x2 until 2027-06-01: known\n");
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[1].value.canonical(), "simple_gla T=2");
  EXPECT_EQ(entries[1].reason, "short; two");
  EXPECT_EQ(entries[1].raised.size(), 1u);
  EXPECT_TRUE(entries[0].raised.empty());
}

TEST_F(CaseFile, ErrorsNameFileAndLine) {
  const std::string no_reason = "an entry says why it is here: <case line> | <reason>";
  EXPECT_EQ(refusal_of("\nsimple_gla T=5\n"), "list.cases:2: " + no_reason);
  EXPECT_EQ(refusal_of("simple_gla T=5 |\n"), "list.cases:1: " + no_reason);
  EXPECT_EQ(refusal_of("simple_gla | raise scan/max x2 until 2027-06-01: b"),
            "list.cases:1: " + no_reason);
  EXPECT_EQ(refusal_of("simple_gla T=-1 | why"),
            "list.cases:1: T=-1: expected an integer in [0, 1048576]");
  EXPECT_EQ(refusal_of("| why"), "list.cases:1: '|' continues the entry above, and there is none");
  EXPECT_EQ(refusal_of("@other.cases\n| why"),
            "list.cases:2: '|' continues the entry above, and there is none");
}

TEST_F(CaseFile, IncludesAreRelativeToTheFileAndReadOnce) {
  write("deep/inner.cases", "@leaf.cases\nsimple_gla T=2 | two\n");
  write("deep/leaf.cases", "simple_gla T=1 | one\n");
  const auto entries =
      read("@deep/inner.cases\n@deep/../deep/leaf.cases\nsimple_gla T=3 | three\n");
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].value.canonical(), "simple_gla T=1");
  EXPECT_EQ(entries[0].reason, "one");
  EXPECT_EQ(entries[0].source, (folder_ / "deep/leaf.cases").string() + ":1");
  EXPECT_EQ(entries[2].value.canonical(), "simple_gla T=3");
}

TEST_F(CaseFile, WrongIncludesNameWhereTheyStand) {
  EXPECT_EQ(refusal_of("# first\n@missing.cases\n"),
            "list.cases:2: cannot read missing.cases: No such file or directory");
  write("back.cases", "@list.cases\n");
  EXPECT_EQ(refusal_of("@back.cases\n"), "back.cases:1: list.cases includes itself");
  write("bad.cases", "simple_gla\n");
  EXPECT_EQ(refusal_of("@bad.cases\n"),
            "bad.cases:1: an entry says why it is here: <case line> | <reason>");
  for (int i = 1; i <= 9; ++i)
    write(std::to_string(i), i < 9 ? "@" + std::to_string(i + 1) : "simple_gla | the last");
  EXPECT_EQ(refusal_of_file(folder_ / "2"), "accepted");
  EXPECT_EQ(refusal_of_file(folder_ / "1"), "8:1: 9: files include each other more than 8 deep");
}

TEST_F(CaseFile, WhatIsNoListOfCasesIsOneClearError) {
  EXPECT_EQ(refusal_of_file(folder_ / "missing"), "cannot read missing: No such file or directory");
  fs::create_directories(folder_ / "directory");
  EXPECT_EQ(refusal_of_file(folder_ / "directory"), "cannot read directory: it is a directory");
  EXPECT_NE(refusal_of_file(std::string(100000, 'x')), "accepted");
  EXPECT_NE(refusal_of_file(""), "accepted");
  fs::create_symlink("loop", folder_ / "loop");
  EXPECT_NE(refusal_of_file(folder_ / "loop"), "accepted");
  EXPECT_EQ(refusal_of(std::string("simple_gla | a\nsimple\0_gla", 25)),
            "list.cases:2: not text: byte 0x00");
  EXPECT_EQ(refusal_of("\x89HDF\r\n\x1a\n"), "list.cases:1: not text: byte 0x89");
  EXPECT_EQ(refusal_of(std::string(2 << 20, 'x')), "list.cases:1: more than 64 KiB is no entry");
  EXPECT_EQ(refusal_of(std::string(17 << 20, '\n')),
            "cannot read list.cases: more than 16 MiB is no list of cases");
  EXPECT_EQ(refusal_of(""), "accepted");
}

TEST_F(CaseFile, ListsThatWouldFillTheMemoryAreRefused) {
  EXPECT_EQ(refusal_of("simple_gla seed=0:99999 | " + std::string(10000, 'x')),
            "list.cases:1: too long a text for so many cases");
  std::string lines;
  for (int i = 0; i < 101; ++i) lines += "simple_gla seed=0:9999 | again\n";
  EXPECT_EQ(refusal_of(lines), "list.cases:101: more than 1000000 cases in all");
}

// Whatever is written into a list, reading it returns or throws UsageError.
TEST_F(CaseFile, MutatedListsNeverCrash) {
  const std::string good =
      "# c\nsimple_gla T=0:64:16,9 gate=slow | why\n  | raise a[b=1]:c/max x2 until 2027-06-01: r\n"
      "simple_gla.backward T/V=6/1,5/2 lengths=5+0 gamma=0.5 | |x|\n@list.cases\n";
  using namespace std::string_view_literals;
  constexpr std::string_view alphabet = "=,:/+|[]@#. x-09Te\n\t\xff\0"sv;
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    for (unsigned change = 1 + random() % 6; change > 0; --change) {
      const std::size_t at = random() % text.size();
      const char letter = alphabet[random() % alphabet.size()];
      if (random() % 2 == 0) {
        text[at] = letter;
      } else if (random() % 2 == 0) {
        text.insert(at, 1, letter);
      } else {
        text.erase(at, 1 + random() % 9);
      }
      if (text.empty()) text = good;
    }
    const std::string message = refusal_of(text);
    EXPECT_FALSE(message.empty());
    EXPECT_EQ(readable_prefix(message), message.size());
  }
}

}  // namespace
}  // namespace groundstate::harness
