#include "harness/run/certificate.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "harness/run/note.hpp"
#include "harness/run/places.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {
namespace {

// A NaN that the other has not is infinitely far off.
double distance(double a, double b) {
  const double apart = std::abs(a - b);
  return std::isnan(apart) ? INFINITY : apart;
}

// A multiply-add in long double is a routine of the library, some 0.4 us: the first and the last of
// the pairs with sensitivities are measured, with what shares their head of keys.
std::vector<bool> measured_pairs(const std::vector<Pair>& pairs, const std::vector<bool>& sampled) {
  const Pair *first = nullptr, *last = nullptr;
  for (std::size_t i = 0; i < pairs.size(); ++i)
    if (sampled[i]) {
      if (first == nullptr) first = &pairs[i];
      last = &pairs[i];
    }
  std::vector<bool> result(pairs.size(), false);
  for (std::size_t i = 0; i < pairs.size(); ++i)
    for (const Pair* const own : {first, last})
      if (own != nullptr && pairs[i].sequence == own->sequence && pairs[i].head == own->head)
        result[i] = true;
  return result;
}

// The bound of the oracle's error, summed over the pairs of each place, by output; NaN where not
// all of them are measured.
Tensors error_bounds(const Operator& op, const Case& c, const Tensors& inputs,
                     const std::vector<Pair>& pairs, const std::vector<bool>& sampled) {
  const std::vector<TensorSpec> specs = op.judged_outputs(c);
  Tensors result;
  std::vector<Places> all, known;
  std::vector<Pair> measured;
  for (std::size_t i = 0; i < pairs.size(); ++i)
    if (sampled[i]) measured.push_back(pairs[i]);
  for (const TensorSpec& spec : specs) {
    result.push_back(Tensor::allocate(spec.name, ElementType::float64, spec.axes));
    all.emplace_back(spec, pairs);
    known.emplace_back(spec, measured);
    for_each_element(result.back(), [&](Index, Index at) { result.back().store(at, NAN); });
    for (const Pair& pair : measured)
      if (known.back().contributors(pair) == all.back().contributors(pair))
        update_output(gather_output(result.back(), pair), pair, result.back(),
                      [](double, double) { return 0.0; });
  }
  std::vector<Index> chosen;
  for (std::size_t i = 0; i < pairs.size(); ++i)
    if (sampled[i]) chosen.push_back(static_cast<Index>(i));
  const auto count = static_cast<Index>(chosen.size());
  const Index batch = 4 * threads();
  for (Index begin = 0; begin < count; begin += batch) {
    const auto size = static_cast<std::size_t>(std::min(batch, count - begin));
    std::vector<PairOutputs> errors(size);
    parallel_for(static_cast<Index>(size), [&](Index i) {
      const Pair& pair =
          pairs[static_cast<std::size_t>(chosen[static_cast<std::size_t>(begin + i)])];
      PairOutputs own = op.oracle(c, inputs, pair);
      const PairOutputs extended = op.extended_oracle(c, inputs, pair);
      if (extended.size() != own.size())
        throw std::logic_error(c.operator_name() + " has no extended oracle");
      for (std::size_t k = 0; k < own.size(); ++k)
        for (Index e = 0; e < own[k].size(); ++e) {
          const double exact = extended[k].data()[e];
          double& error = own[k].data()[e];
          const bool same = error == exact || (std::isnan(error) && std::isnan(exact));
          error = (same ? 0 : distance(error, exact)) +
                  (std::isfinite(exact) ? 0x1p-53 * std::abs(exact) : 0);
        }
      errors[static_cast<std::size_t>(i)] = std::move(own);
    });
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t k = 0; k < specs.size(); ++k)
        update_output(errors[i][k],
                      pairs[static_cast<std::size_t>(chosen[static_cast<std::size_t>(begin) + i])],
                      result[k], [](double there, double own) { return there + own; });
  }
  return result;
}

std::optional<GradientCertificate> gradients(const Operator& op, const Case& c,
                                             const Tensors& inputs, const std::vector<Pair>& pairs,
                                             const std::vector<bool>& sampled) {
  GradientCertificate result;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (!sampled[i]) continue;
    const auto identity = op.adjoint_identity(c, inputs, pairs[i]);
    if (!identity) return std::nullopt;
    ++result.pairs;
    const double apart = std::abs(identity->forward - identity->backward),
                 bound = 2 * identity->chain * fp64_roundoff * identity->size;
    // Inputs that are NaN or infinite have no derivative to speak of.
    if (!std::isfinite(identity->size)) continue;
    const double ratio = apart == 0 ? 0 : apart / bound;
    result.worst = std::isnan(ratio) ? INFINITY : std::max(result.worst, ratio);
  }
  return result;
}

}  // namespace

Certifier::Certifier(const Operator& op, const Case& c, const std::vector<Candidate>& candidates,
                     const Tensors& outputs)
    : op_(op), case_(c), exact_outputs_(outputs), candidates_(candidates) {
  Candidate exact;
  exact.outputs = &exact_outputs_;
  exact.types.assign(op.judged_outputs(c).size(), ElementType::float64);
  exact.declaration = {recipe_units("exact"), true};
  exact.form.path = op.paths().front().name;
  set_intervals(exact, true);
  candidates_.push_back(exact);
  for (std::size_t k = 0; k < candidates_.size(); ++k)
    measured_.push_back(unmeasured(op.judged_outputs(c)));
  for (std::size_t k = 0; k < candidates_.size(); ++k) candidates_[k].measured = &measured_[k];
}

Certifier::Certificate Certifier::finish(const Tensors& inputs, const std::vector<Pair>& pairs,
                                         const std::vector<bool>& sampled) const {
  const std::vector<bool> chosen = measured_pairs(pairs, sampled);
  const Tensors bounds = error_bounds(op_, case_, inputs, pairs, chosen);
  Certificate result;
  const Triple none{};
  const auto in_units = [&](std::size_t k, std::size_t output) {
    ErrorList list;
    const Tensor& units = measured_[k][output].unit;
    for_each_pair(bounds[output], units, [&](Index, Index at, Index other) {
      const double unit = units.load(other);
      const double bound = bounds[output].load(at);
      if (std::isfinite(unit) && !std::isnan(bound)) list.push(bound / unit);
    });
    return list.elements() > 0 ? list.triple() : none;
  };
  for (std::size_t k = 0; k + 1 < candidates_.size(); ++k) {
    std::vector<OracleCertificate>& own = result.paths.emplace_back();
    for (std::size_t output = 0; output < bounds.size(); ++output) {
      OracleCertificate certificate;
      certificate.tensor = bounds[output].name();
      certificate.exact = in_units(candidates_.size() - 1, output);
      const Candidate& candidate = candidates_[k];
      certificate.largest = in_units(k, output).maximum;
      const Triple limits = recipe_limits("exact", op_.family(certificate.tensor));
      const bool is_exact = candidate.declaration.recipe.gate < fp32_roundoff;
      // The rounding of R itself is in the bound: a unit at most.
      certificate.good = certificate.exact.maximum <= limits.maximum + 1 &&
                         certificate.exact.median <= limits.median + 1 &&
                         (is_exact || certificate.largest <= certified_share);
      result.good = result.good && certificate.good;
      own.push_back(certificate);
    }
  }
  result.gradients = gradients(op_, case_, inputs, pairs, chosen);
  if (result.gradients && !(result.gradients->worst <= 1)) result.good = false;
  return result;
}

void apply_certificate(const Certifier::Certificate& certificate,
                       const std::vector<Result*>& results) {
  for (std::size_t k = 0; k < results.size(); ++k) {
    results[k]->certificate = certificate.paths[k];
    results[k]->gradients = certificate.gradients;
    if (certificate.good || results[k]->status == Status::failed) continue;
    results[k]->status = Status::mistrusted;
    add_remark(results[k]->note, "the oracle is farther off than its certificate allows");
  }
}

}  // namespace groundstate::harness
