#include "harness/operators/selective_state_update/pool.hpp"

#include <algorithm>
#include <cstring>
#include <map>

#include "harness/operators/tensor_edit.hpp"

namespace groundstate::harness::selective_state_update_binding {
namespace {

ElementType judged_type(ElementType stored) {
  return ssu::has_codes(stored) ? ElementType::float64 : stored;
}

}  // namespace

ssu::HostInputs bind_inputs(const Tensors& inputs) {
  ssu::HostInputs x;
  input_tensors(
      x, [&](std::string_view name, auto& view, auto...) { bind(find(inputs, name), view); });
  return x;
}

ssu::HostOutputs bind_outputs(Tensors& outputs) {
  ssu::HostOutputs y;
  output_tensors(
      y, [&](std::string_view name, auto& view, auto...) { bind(find(outputs, name), view); });
  drop_scales(y);
  return y;
}

ssu::HostOutputs bind_pool(const Tensors& inputs) {
  Tensors shared;
  for (const Tensor& tensor : inputs)
    if (is_pool(tensor.name())) shared.push_back(tensor);
  return bind_outputs(shared);
}

ssu::Options options_for(const Case& c, ElementType state) {
  ssu::Options result = options(c);
  if (size_of(state) > 2) result.stochastic.reset();
  return result;
}

void start(const Tensors& inputs, Tensors& outputs) {
  for (Tensor& tensor : outputs)
    if (tensor.name().starts_with("intermediate")) std::memset(tensor.data(), 0xff, tensor.bytes());
  const Tensor& given = *find(inputs, "state");
  Tensor* const state = find(outputs, "state");
  const Tensor* const given_scale = find(inputs, "state_scale");
  if (Tensor* const scale = find(outputs, "state_scale")) copy_elements(*given_scale, *scale);
  if (state == nullptr) return;
  if (given_scale == nullptr || state->type() == given.type()) return copy_elements(given, *state);
  const auto codes = given.const_view<Slot, Head, Value, State>();
  const auto scale = given_scale->const_view<Slot, Head, Value>();
  const auto values = state->view<Slot, Head, Value, State>();
  const auto [slots, heads, rows, columns] = codes.extents();
  for (Index s = 0; s < slots; ++s)
    for (Index h = 0; h < heads; ++h)
      for (Index p = 0; p < rows; ++p)
        for (Index n = 0; n < columns; ++n)
          values.store(codes.load(Slot{s}, Head{h}, Value{p}, State{n}) *
                           scale.load(Slot{s}, Head{h}, Value{p}),
                       Slot{s}, Head{h}, Value{p}, State{n});
}

std::optional<std::string> violation(const Case& c, const Tensors& inputs, const Tensors& outputs) {
  const ssu::HostInputs x = bind_inputs(inputs);
  const ssu::HostOutputs pool = bind_pool(inputs);
  const ssu::Shape n = shape(x, pool);
  const ssu::Options how = options(c);
  const std::map<Index, SlotStore> written = slot_stores(x, how).last();

  Tensors before;
  for (const Tensor& tensor : outputs)
    if (tensor.name() == "state" || tensor.name() == "state_scale")
      before.push_back(
          Tensor::allocate(tensor.name(), tensor.type(), tensor.axes(), tensor.storage_order()));
  start(inputs, before);
  const Tensor* const state = find(outputs, "state");
  const bool codes = state != nullptr && ssu::has_codes(state->type());
  for (const Tensor& own : before)
    for (Index slot = 0; slot < n.slots; ++slot) {
      const bool may_change = written.contains(slot) && (own.name() == "state" || codes);
      if (!may_change && !same_bytes(find(outputs, own.name())->slice(Slot::name, slot, 1),
                                     own.slice(Slot::name, slot, 1)))
        return fmt::format("{}: slot {} was changed, which no lane writes", own.name(), slot);
    }

  const Tensor* const out = find(outputs, "out");
  if (out == nullptr || how.pad_slot_id) return std::nullopt;
  const auto y = out->const_view<Batch, Time, Head, Value>();
  for (Index i = 0; i < n.sequences; ++i) {
    const Lane own = lane(x, how, i, load_index);
    for (Index k = 0; own.padding && k < own.length * n.heads * n.value; ++k) {
      const Index t = k / (n.heads * n.value), h = k / n.value % n.heads, p = k % n.value;
      const double value = y.load(Batch{own.batch}, Time{own.begin + t}, Head{h}, Value{p});
      if (value != 0 || std::signbit(value))
        return fmt::format(
            "out of lane {}, which is padding, is {} at t={} h={} v={}; it must be +0", i, value, t,
            h, p);
    }
  }
  return std::nullopt;
}

// ---- states as the judge sees them

Index longest_lane(const ssu::HostInputs& x, const ssu::Shape& n) {
  Index longest = 0;
  for (Index i = 0; i < n.sequences; ++i)
    longest = std::max(longest, lane(x, {}, i, load_index).length);
  return longest;
}

Index stores_of(const ssu::HostInputs& x, const ssu::Options& options) {
  if (!options.update_state) return 0;
  return x.destination ? x.destination.extent<Time>() : 1;
}

SlotStores slot_stores(const ssu::HostInputs& x, const ssu::Options& options) {
  const Index time = x.x.extent<Time>();
  return {indices(x), options, time, sequences_of(indices(x), x.x.extent<Batch>())};
}

Matrix<double> stored_rows(const ssu::HostInputs& x, const ssu::Shape& n,
                           const ssu::Options& options, Index sequence, const StateAt& state) {
  const Index stores = stores_of(x, options);
  Matrix<double> rows = Matrix<double>::Zero(stores * n.value, n.state);
  for (const Index t : slot_stores(x, options).lasting(sequence))
    rows.middleRows(stores == 1 ? 0 : t * n.value, n.value) = state(t);
  return rows;
}

std::vector<TensorSpec> judged_states(const Case& c) {
  const std::shared_ptr<const Plan> plan = make_plan(c);
  const Plan& n = *plan;
  const auto spec = [&](std::string name, Index stores) {
    TensorSpec result;
    result.name = std::move(name);
    result.type = judged_type(type_of(c, ElementClass::state));
    result.axes = {{Sequence::name, n.sequences, 0},
                   {Head::name, n.heads, 0},
                   {Value::name, stores * n.value, 0},
                   {State::name, n.state, 0}};
    return result;
  };
  std::vector<TensorSpec> result;
  if (options(c).update_state)
    result.push_back(spec("state", std::max<Index>(1, n.destination_columns)));
  if (n.rows > 0) result.push_back(spec("intermediate_states", n.longest));
  return result;
}

Tensors judged(const Case& c, const Tensors& inputs, const Tensors& outputs) {
  Tensors shared = outputs, result;
  const ssu::HostInputs x = bind_inputs(inputs);
  const ssu::HostOutputs y = bind_outputs(shared);
  const ssu::Shape n = shape(x, bind_pool(inputs));
  const ssu::Options how = options(c);
  if (const Tensor* const out = find(outputs, "out")) result.push_back(*out);
  const auto decoded = [&](std::string name, const Tensor* stored, Index rows, const auto& fill) {
    if (stored == nullptr ||
        (ssu::has_codes(stored->type()) &&
         find(outputs, stored->name() == "state" ? "state_scale" : "intermediate_state_scales") ==
             nullptr))
      return;
    Tensor own = Tensor::allocate(std::move(name), judged_type(stored->type()),
                                  {{Sequence::name, n.sequences, 0},
                                   {Head::name, n.heads, 0},
                                   {Value::name, rows, 0},
                                   {State::name, n.state, 0}});
    const auto view = own.view<Sequence, Head, Value, State>();
    for (Index i = 0; i < n.sequences; ++i)
      for (Index h = 0; h < n.heads; ++h) {
        const Matrix<double> states = fill(i, h);
        for (Index r = 0; r < rows; ++r)
          for (Index k = 0; k < n.state; ++k)
            view.store(states(r, k), Sequence{i}, Head{h}, Value{r}, State{k});
      }
    result.push_back(std::move(own));
  };
  if (how.update_state)
    decoded("state", find(outputs, "state"), stores_of(x, how) * n.value, [&](Index i, Index h) {
      const Lane own = lane(x, how, i, load_index);
      return stored_rows(x, n, how, i, [&](Index t) {
        const Index slot = destination(x, how, i, own, t, load_index);
        return load_state<double>(ssu::slot_of(y, slot, h));
      });
    });
  if (const Tensor* const states = find(outputs, "intermediate_states"))
    decoded(
        "intermediate_states", states, states->extent(Time::name) * n.value, [&](Index i, Index h) {
          const Lane own = lane(x, how, i, load_index);
          Matrix<double> rows = Matrix<double>::Zero(states->extent(Time::name) * n.value, n.state);
          for (Index t = 0; !own.padding && t < own.length; ++t)
            rows.middleRows(t * n.value, n.value) =
                load_state<double>(ssu::intermediate_of(y, own.row, t, h));
          return rows;
        });
  return result;
}

}  // namespace groundstate::harness::selective_state_update_binding
