#include "harness/operators/mamba3_step/pool.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "harness/operators/tensor_edit.hpp"

namespace groundstate::harness::mamba3_step_binding {
namespace {

constexpr std::array<std::string_view, 4> pool_names{"state", "k_state", "x_state", "angle_state"};

Index rows_of_store(const mamba3::Shape& n, std::string_view tensor) {
  return tensor == "k_state"                              ? n.ranks
         : tensor == "x_state" || tensor == "angle_state" ? 1
                                                          : n.value;
}
Index columns_of_store(const mamba3::Shape& n, std::string_view tensor) {
  return tensor == "x_state" ? n.value : tensor == "angle_state" ? 2 * n.frequencies : n.state;
}

// One store as the judge sees it.
Matrix<double> store_of(const mamba3::Carried<double>& own, std::string_view tensor) {
  if (tensor == "k_state") return own.k;
  if (tensor == "x_state") return own.x.transpose();
  if (tensor != "angle_state") return own.state;
  Matrix<double> circle(1, 2 * own.angle.size());
  for (Index f = 0; f < own.angle.size(); ++f) {
    circle(0, f) = std::cos(own.angle[f]);
    circle(0, own.angle.size() + f) = std::sin(own.angle[f]);
  }
  return circle;
}

// One member of what slot and head hold; others may not be there.
mamba3::Carried<double> load_member(const mamba3::HostOutputs& y, std::string_view tensor,
                                    Index slot, Index head) {
  mamba3::Carried<double> own;
  if (tensor == "state") own.state = load_state<double>(mamba3::slot_of(y, slot, head));
  if (tensor == "k_state") own.k = mamba3::load_k<double>(y, slot, head);
  if (tensor == "x_state") own.x = mamba3::load_x<double>(y, slot, head);
  if (tensor == "angle_state") own.angle = mamba3::load_angle<double>(y, slot, head);
  return own;
}

// Out of rank_out, the ranks one after the other in each row.
Tensor ranks_as_columns(const Tensor& rank_out) {
  const Index R = rank_out.extent(Rank::name), P = rank_out.extent(Value::name);
  Tensor result = Tensor::allocate("out", rank_out.type(),
                                   {{Batch::name, rank_out.extent(Batch::name), 0},
                                    {Time::name, rank_out.extent(Time::name), 0},
                                    {Head::name, rank_out.extent(Head::name), 0},
                                    {Value::name, R * P, 0}});
  const auto from = rank_out.const_view<Batch, Time, Rank, Head, Value>();
  const auto to = result.view<Batch, Time, Head, Value>();
  const auto [batch, time, heads, columns] = to.extents();
  for (Index b = 0; b < batch; ++b)
    for (Index t = 0; t < time; ++t)
      for (Index h = 0; h < heads; ++h)
        for (Index j = 0; j < columns; ++j)
          to.store(from.load(Batch{b}, Time{t}, Rank{j / P}, Head{h}, Value{j % P}), Batch{b},
                   Time{t}, Head{h}, Value{j});
  return result;
}

}  // namespace

bool is_pool(std::string_view name) {
  return std::find(pool_names.begin(), pool_names.end(), name) != pool_names.end();
}

mamba3::HostInputs bind_inputs(const Tensors& inputs) {
  mamba3::HostInputs x;
  input_tensors(
      x, [&](std::string_view name, auto& view, auto...) { bind(find(inputs, name), view); });
  return x;
}

mamba3::HostOutputs bind_outputs(const Case& c, Tensors& outputs) {
  mamba3::HostOutputs y;
  output_tensors(
      y, [&](std::string_view name, auto& view, auto...) { bind(find(outputs, name), view); });
  y.rotation = pool_rotation(c);
  return y;
}

mamba3::HostOutputs bind_pools(const Case& c, const Tensors& inputs) {
  Tensors shared;
  for (const Tensor& tensor : inputs)
    if (is_pool(tensor.name())) shared.push_back(tensor);
  return bind_outputs(c, shared);
}

mamba3::Options options_for(const Case& c, ElementType state) {
  mamba3::Options result = options(c);
  if (size_of(state) > 2) result.stochastic.reset();
  return result;
}

void start(const Tensors& inputs, Tensors& outputs) {
  for (Tensor& tensor : outputs) {
    if (is_pool(tensor.name())) copy_elements(*find(inputs, tensor.name()), tensor);
    if (tensor.name() == "state_out" || tensor.name() == "intermediate_states")
      std::memset(tensor.data(), 0xff, tensor.bytes());
  }
}

Lanes::Lanes(const Case& c, const Tensors& inputs)
    : x(bind_inputs(inputs)),
      pools(bind_pools(c, inputs)),
      options(mamba3_step_binding::options(c)),
      n(shape(x, pools)),
      state_out(given(c, "state_out")),
      intermediate(given(c, "intermediate_states")) {}

Index Lanes::stores() const {
  if (!options.update_state) return 0;
  return x.lanes.destination ? x.lanes.destination.extent<Time>() : 1;
}

std::optional<std::string> violation(const Case& c, const Tensors& inputs, const Tensors& outputs) {
  const Lanes lanes(c, inputs);
  const auto written = lanes.slot_stores().last();
  Tensors before;
  for (const Tensor& tensor : outputs)
    if (is_pool(tensor.name()))
      before.push_back(
          Tensor::allocate(tensor.name(), tensor.type(), tensor.axes(), tensor.storage_order()));
  start(inputs, before);
  for (const Tensor& own : before)
    for (Index slot = 0; slot < lanes.n.slots; ++slot) {
      const bool kv = own.name() == "k_state" || own.name() == "x_state";
      const bool may_change =
          written.contains(slot) && !lanes.state_out && (!kv || lanes.options.update_kv_state);
      if (!may_change && !same_bytes(find(outputs, own.name())->slice(Slot::name, slot, 1),
                                     own.slice(Slot::name, slot, 1)))
        return fmt::format("{}: slot {} was changed, which {}", own.name(), slot,
                           written.contains(slot) ? "this call leaves alone" : "no lane writes");
    }
  for (const Tensor& out : outputs) {
    if (out.name() != "out" && out.name() != "rank_out") continue;
    for (Index i = 0; i < lanes.n.sequences; ++i) {
      const Lane own = lanes.at(i);
      const Index used = own.padding ? 0 : own.length;
      const Tensor rest = out.slice(Batch::name, own.batch, 1)
                              .slice(Time::name, own.begin + used, own.given - used);
      std::optional<double> wrong;
      for_each_element(rest, [&](Index, Index offset) {
        const double value = rest.load(offset);
        if (value != 0 || std::signbit(value)) wrong = value;
      });
      if (wrong)
        return fmt::format("out of lane {}, {}, is {}; it must be +0", i,
                           own.padding ? "which is padding" : "behind its replayed tokens", *wrong);
    }
  }
  return std::nullopt;
}

// ---- what lanes leave, as the judge sees it

std::vector<std::string> judged_names(const mamba3::Options& options, bool prologue,
                                      bool intermediate) {
  std::vector<std::string> names;
  if (options.update_state) {
    names.emplace_back("state");
    if (options.update_kv_state) names.insert(names.end(), {"k_state", "x_state"});
    if (prologue) names.emplace_back("angle_state");
  }
  if (intermediate) names.emplace_back("intermediate_states");
  return names;
}

Matrix<double> judged_rows(const Lanes& lanes, std::string_view tensor, Index sequence,
                           const After& after) {
  const mamba3::Shape& n = lanes.n;
  const Index height = rows_of_store(n, tensor), columns = columns_of_store(n, tensor);
  const Lane own = lanes.at(sequence);
  if (tensor == "intermediate_states") {
    Index longest = 0;
    for (Index i = 0; i < n.sequences; ++i) longest = std::max(longest, lanes.at(i).given);
    Matrix<double> rows = Matrix<double>::Zero(longest * height, columns);
    for (Index t = 0; !own.padding && t < own.length; ++t)
      rows.middleRows(t * height, height) = store_of(after(t), tensor);
    return rows;
  }
  const Index stores = lanes.stores();
  Matrix<double> rows = Matrix<double>::Zero(stores * height, columns);
  for (const Index t : lanes.slot_stores().lasting(sequence))
    rows.middleRows(stores == 1 ? 0 : t * height, height) = store_of(after(t), tensor);
  return rows;
}

std::vector<TensorSpec> judged_outputs(const Case& c) {
  const std::shared_ptr<const Plan> plan = make_plan(c);
  const Plan& n = *plan;
  const mamba3::Shape shape{n.batch, n.time,  n.sequences, n.heads,       n.groups,
                            n.ranks, n.value, n.state,     n.frequencies, n.slots};
  std::vector<TensorSpec> result(1);
  result[0].name = "out";
  result[0].type = type_of(c, ElementClass::activation);
  result[0].axes = {{Batch::name, n.batch, 0},
                    {Time::name, n.time, 0},
                    {Head::name, n.heads, 0},
                    {Value::name, given(c, "out") ? n.value : n.ranks * n.value, 0}};
  for (std::string& name :
       judged_names(options(c), has_prologue(c), given(c, "intermediate_states"))) {
    const Index stores =
        name == "intermediate_states" ? n.longest : std::max<Index>(1, n.destination_columns);
    TensorSpec own;
    own.type = name == "angle_state"                    ? ElementType::float64
               : name == "k_state" || name == "x_state" ? type_of(c, ElementClass::activation)
                                                        : type_of(c, ElementClass::state);
    own.axes = {{Sequence::name, n.sequences, 0},
                {Head::name, n.heads, 0},
                {Value::name, stores * rows_of_store(shape, name), 0},
                {State::name, columns_of_store(shape, name), 0}};
    own.name = std::move(name);
    result.push_back(std::move(own));
  }
  return result;
}

Tensors judged(const Case& c, const Tensors& inputs, const Tensors& outputs) {
  Tensors shared = outputs, result;
  const Lanes lanes(c, inputs);
  const mamba3::HostOutputs y = bind_outputs(c, shared);
  const mamba3::Shape& n = lanes.n;
  if (const Tensor* const out = find(outputs, "out")) result.push_back(*out);
  if (const Tensor* const out = find(outputs, "rank_out")) result.push_back(ranks_as_columns(*out));
  for (const std::string& name : judged_names(lanes.options, has_prologue(c), lanes.intermediate)) {
    const bool from_state_out = name == "state" && lanes.state_out;
    const Tensor* const stored = find(outputs, from_state_out ? "state_out" : name);
    if (stored == nullptr) continue;
    std::optional<Tensor> own;
    for (Index i = 0; i < n.sequences; ++i)
      for (Index h = 0; h < n.heads; ++h) {
        const Lane at = lanes.at(i);
        const Matrix<double> rows = judged_rows(lanes, name, i, [&](Index t) {
          if (is_pool(name) && !from_state_out)
            return load_member(y, name, lanes.destination(i, at, t), h);
          mamba3::Carried<double> left;
          left.state =
              load_state<double>(from_state_out ? mamba3::state_out_of(y, i, h)
                                                : mamba3::intermediate_of(y, at.row, t, h));
          return left;
        });
        if (!own)
          own =
              Tensor::allocate(name, name == "angle_state" ? ElementType::float64 : stored->type(),
                               {{Sequence::name, n.sequences, 0},
                                {Head::name, n.heads, 0},
                                {Value::name, rows.rows(), 0},
                                {State::name, rows.cols(), 0}});
        const auto view = own->view<Sequence, Head, Value, State>();
        for (Index r = 0; r < rows.rows(); ++r)
          for (Index k = 0; k < rows.cols(); ++k)
            view.store(rows(r, k), Sequence{i}, Head{h}, Value{r}, State{k});
      }
    if (own) result.push_back(std::move(*own));
  }
  return result;
}

}  // namespace groundstate::harness::mamba3_step_binding
