#include "harness/operators/simple_gla/stages.hpp"

#include <algorithm>
#include <cmath>

#include "harness/operators/simple_gla/case.hpp"
#include "harness/operators/simple_gla/paths.hpp"
#include "harness/operators/stage_axes.hpp"

namespace groundstate::harness::simple_gla_binding {
namespace {

// log 2^-126
constexpr double least_logarithm = -87.33654475055310898;

double clamped(double logarithm) {
  return logarithm < least_logarithm ? least_logarithm : logarithm;
}

// The oracle's recipe with a disturbed state, each time that it is written (once a chunk).
class ChunkNoise : public Rounding<double> {
 public:
  ChunkNoise() = default;
  explicit ChunkNoise(const Perturbation& how)
      : stream_(how.seed ^ 0x6361727279u, "chunk state"),
        high_(how.high() << 16),
        epsilon_(how.epsilon) {}

  auto carry(Index time, Index row, Index column) const {
    return [this, index = static_cast<std::uint64_t>(time) << 24 | static_cast<std::uint64_t>(row),
            column](double x, Index j) {
      if (epsilon_ == 0) return x;
      const auto place = static_cast<std::uint64_t>(column + j);
      const std::uint32_t word = stream_.bits(index, high_ | place / 128)[place / 32 % 4];
      return x * (1 + (word >> place % 32 & 1 ? epsilon_ : -epsilon_));
    };
  }

 private:
  RandomStream stream_{0, ""};
  std::uint64_t high_ = 0;
  double epsilon_ = 0;
};

PairOutputs exact_stages(const gla::Problem<double>& p, Index chunk, const Perturbation& noise) {
  gla::Stages<double> stages;
  gla::chunked<ChunkNoise>(p, chunk, ChunkNoise(noise), &stages);
  return widened(stages, p);
}
PairOutputs exact_stages(const gla::BackwardProblem<double>& p, Index chunk,
                         const Perturbation& noise) {
  Perturbation of_gradient = noise;  // S and dS are disturbed independently
  of_gradient.seed ^= fnv1a_64("dS");
  gla::BackwardStages<double> stages;
  gla::BoundaryStates<double> workspace;
  gla::chunked_backward<ChunkNoise>(p, {chunk}, workspace, &stages, ChunkNoise(noise),
                                    ChunkNoise(of_gradient));
  return widened(stages, p);
}

template <class In>
class ChunkedStages final : public Judgeable {
 public:
  explicit ChunkedStages(StageSource<In> source) : source_(std::move(source)) {}

  std::vector<TensorSpec> judged_outputs(const Case& c) const override {
    const Dimensions n = dimensions(c);
    const AxisExtent batch{Batch::name, n.batch}, time{Time::name, n.time},
        head{ValueHead::name, n.value_heads}, key{groundstate::Key::name, n.key},
        value{Value::name, n.value}, chunk{ChunkNumber::name, chunks(c)},
        column{ChunkToken::name, source_.chunk};
    const std::vector<AxisExtent> states{batch, chunk, head, key, value},
        scores{batch, time, head, column};
    std::vector<TensorSpec> specs;
    const auto add = [&](const char* name, const std::vector<AxisExtent>& axes) {
      TensorSpec& spec = specs.emplace_back();
      spec.name = name;
      spec.type = c.get("dtype") == "fp64" ? ElementType::float64 : ElementType::float32;
      spec.axes = axes;
    };
    add("cumulative_decay", {batch, time, head});
    add("chunk_states", states);
    add("scores", scores);
    if constexpr (backward) {
      add("dh_states", states);
      add("dscores", scores);
    }
    return specs;
  }

  Tensors judged(const Case&, const Tensors&, const Tensors& given) const override {
    Tensors result;
    for (const Tensor& tensor : given) {
      if (tensor.name() != "cumulative_decay") {
        result.push_back(tensor);
        continue;
      }
      Tensor own = Tensor::allocate(tensor.name(), tensor.type(), tensor.axes());
      for_each_pair(own, tensor, [&](Index, Index to, Index from) {
        own.store(to, clamped(tensor.load(from)));
      });
      result.push_back(std::move(own));
    }
    return result;
  }

  std::vector<Pair> pairs(const Case& c, const Tensors& inputs) const override {
    std::vector<Pair> result = source_.outputs.pairs(c, inputs);
    for (std::size_t i = 0; i < result.size(); ++i) {
      Pair& own = result[i];
      own.chunks = gla::number_of_chunks(own.length, source_.chunk);
      if (i == 0) continue;
      const Pair& last = result[i - 1];
      if (own.batch == last.batch)
        own.first_chunk = last.first_chunk + (own.sequence == last.sequence ? 0 : last.chunks);
    }
    return result;
  }

  PairOutputs oracle(const Case& c, const Tensors& inputs, const Pair& pair,
                     const Perturbation& how) const override {
    const In x = source_.bind(inputs);
    auto p = gla::gather<double>(x, options(c),
                                 gla::place(x, options(c), pair.sequence, pair.value_head));
    perturb(how, p);
    Perturbation noise = how;
    if (how.field != Field::carry) noise.epsilon = 0;
    return as_judged(exact_stages(p, source_.chunk, noise), pair);
  }

  PairOutputs emulate(const Case& c, const PathVariant& variant, const Tensors& inputs,
                      const Pair& pair) const override {
    const In x = source_.bind(inputs);
    return as_judged(source_.emulate(variant, x, options(c),
                                     gla::place(x, options(c), pair.sequence, pair.value_head)),
                     pair);
  }

  Matrix<bool> zeros(const Case&, const Tensors&, std::string_view tensor, const Pair& pair,
                     const Matrix<double>& oracle) const override {
    Matrix<bool> mask;
    if (tensor != "scores" && tensor != "dscores") return mask;
    mask.resize(oracle.rows(), oracle.cols());
    for (Index i = 0; i < mask.rows(); ++i) {
      const Index token = pair.reverse ? mask.rows() - 1 - i : i;
      for (Index j = 0; j < mask.cols(); ++j) mask(i, j) = j > token % source_.chunk;
    }
    return mask;
  }

  PairOutputs form_terms(const Case& c, const PathVariant&, const RecipeUnits& recipe,
                         const Tensors& inputs, const Pair& pair,
                         const InternalUnits&) const override {
    PairOutputs result = oracle(c, inputs, pair, {});
    for (std::size_t i = 0; i < result.size(); ++i)
      if (is_score(i))
        result[i] = recipe.operand * result[i].cwiseAbs();
      else
        result[i].resize(0, 0);
    return result;
  }

  // The first states are h0 in its type, cumulative gates may be multiples of one of few bits, and
  // a score is an operand.
  bool on_grid_by_nature(const Case&) const override { return true; }

 private:
  static constexpr bool backward = std::is_same_v<In, gla::HostBackwardInputs>;
  static bool is_score(std::size_t stage) { return stage == 2 || stage == 4; }

  Index chunks(const Case& c) const {
    if (c.get("lengths").empty()) return gla::number_of_chunks(dimensions(c).time, source_.chunk);
    Index sum = 0;
    for (const Index length : c.integers("lengths"))
      sum += gla::number_of_chunks(length, source_.chunk);
    return sum;
  }

  // Clamped, and rows of time in the order of tokens.
  static PairOutputs as_judged(PairOutputs stages, const Pair& pair) {
    stages[0] = stages[0].unaryExpr(&clamped);
    for (std::size_t i = 0; i < stages.size(); ++i)
      if (pair.reverse && (i == 0 || is_score(i))) stages[i] = stages[i].colwise().reverse().eval();
    return stages;
  }

  StageSource<In> source_;
};

}  // namespace

template <class In>
std::unique_ptr<Judgeable> make_stages(StageSource<In> source) {
  return std::make_unique<ChunkedStages<In>>(std::move(source));
}
template std::unique_ptr<Judgeable> make_stages(StageSource<gla::HostInputs>);
template std::unique_ptr<Judgeable> make_stages(StageSource<gla::HostBackwardInputs>);

}  // namespace groundstate::harness::simple_gla_binding
