#include "harness/operators/slot_contracts.hpp"

#include <algorithm>

#include "harness/operators/binding.hpp"
#include "harness/operators/tensor_edit.hpp"

namespace groundstate::harness {

Case SlotContracts::sized(const Case& c, std::string_view key, Index value) {
  return c.with(key, std::to_string(value));
}

bool SlotContracts::any_padding() const { return std::ranges::any_of(call_.lanes, &Lane::padding); }

Tensor SlotContracts::indices(std::string name, bool has_columns, Index sequences) const {
  std::vector<AxisExtent> axes{{Sequence::name, sequences, 0}};
  if (has_columns) axes.push_back({Time::name, 1, 0});
  return Tensor::allocate(std::move(name), element_type(call_.c.get("index_dtype")), axes);
}

Tensors SlotContracts::before(const Tensors& outputs) const {
  Tensors pools;
  for (const Tensor& tensor : outputs)
    if (call_.is_pool(tensor.name())) pools.push_back(empty_like(tensor));
  call_.start(call_.inputs, pools);
  return pools;
}

Tensor SlotContracts::with_quiet_padding(const Tensor& tensor) const {
  Tensor result = copy_of(tensor);
  for (const Lane& own : call_.lanes)
    if (own.padding)
      fill(result.slice(Batch::name, own.batch, 1).slice(Time::name, own.begin, own.given), 0);
  return result;
}

Tensors SlotContracts::tokens(const Tensors& tensors, Index begin, Index count) {
  Tensors result;
  for (const Tensor& tensor : tensors)
    result.push_back(tensor.has_axis(Batch::name) ? tensor.slice(Time::name, begin, count)
                                                  : tensor);
  return result;
}

SlotContracts::Sides SlotContracts::other_pool_order(const Run& run) const {
  Tensors other;
  for (const Tensor& tensor : call_.inputs) {
    if (call_.is_pool(tensor.name())) {
      other.push_back(reversed(tensor, Slot::name));
    } else if (tensor.name() == "state_batch_indices" ||
               tensor.name() == "dst_state_batch_indices") {
      Tensor mirrored = copy_of(tensor);
      for (Index i = 0; i < mirrored.elements(); ++i) {
        const auto slot = static_cast<Index>(mirrored.load(i));
        if (!is_padding(call_.rules, slot))
          mirrored.store(i, static_cast<double>(call_.slots - 1 - slot));
      }
      other.push_back(mirrored);
    } else {
      other.push_back(tensor);
    }
  }
  Tensors right = run(with_pool(call_.slots), other);
  for (Tensor& tensor : right)
    if (call_.is_pool(tensor.name())) tensor = reversed(tensor, Slot::name);
  return {run_as_it_is(run), right};
}

SlotContracts::Sides SlotContracts::lane_alone(const Run& run, Index lane) const {
  const Case one = sized(with_pool(call_.slots), "B", 1);
  Tensors own;
  for (const Tensor& tensor : call_.inputs)
    own.push_back(tensor.has_axis(Batch::name)      ? tensor.slice(Batch::name, lane, 1)
                  : tensor.has_axis(Sequence::name) ? tensor.slice(Sequence::name, lane, 1)
                                                    : tensor);
  const bool has_indices = find(call_.inputs, "state_batch_indices") != nullptr;
  if (!has_indices) {
    own.push_back(indices("state_batch_indices", true, 1));
    own.back().store(0, static_cast<double>(lane));
  }
  const Case indexed = has_indices ? one : one.with("indices", "permuted");
  Tensors whole;
  for (const Tensor& tensor : call_.judged(call_.c, call_.inputs, run_as_it_is(run)))
    whole.push_back(
        tensor.slice(tensor.has_axis(Batch::name) ? Batch::name : Sequence::name, lane, 1));
  return {whole, call_.judged(indexed, own, run(indexed, own))};
}

SlotContracts::Sides SlotContracts::head_alone(const Run& run) const {
  const Index extent = call_.groups > 1 ? call_.heads / call_.groups : 1,
              first = call_.heads - extent;
  const auto last = [&](const Tensors& tensors) {
    return cut(cut(tensors, Head::name, first, extent), Group::name, call_.groups - 1, 1);
  };
  const Case own = sized(sized(with_pool(call_.slots), "H", extent), "G", 1);
  return {last(run_as_it_is(run)), run(own, last(call_.inputs))};
}

SlotContracts::Sides SlotContracts::other_destination(const Run& run) const {
  const Index slots = call_.slots + sequences();
  Tensors moved;
  for (const Tensor& tensor : call_.inputs) {
    moved.push_back(call_.is_pool(tensor.name()) ? empty_like(tensor, Slot::name, slots) : tensor);
    if (call_.is_pool(tensor.name()))
      copy_bytes(tensor, moved.back().slice(Slot::name, 0, call_.slots));
  }
  Tensor destination = indices("dst_state_batch_indices", true, sequences());
  for (Index i = 0; i < sequences(); ++i)
    destination.store(i, static_cast<double>(call_.slots + i));
  moved.push_back(destination);
  const Case own = with_pool(slots).with("dst", "separate");
  return {call_.judged(call_.c, call_.inputs, run_as_it_is(run)),
          call_.judged(own, moved, run(own, moved))};
}

SlotContracts::Sides SlotContracts::padding_is_ignored(const Run& run) const {
  Tensors quiet;
  for (const Tensor& tensor : call_.inputs)
    quiet.push_back(tensor.has_axis(Batch::name) ? with_quiet_padding(tensor) : tensor);
  return {run_as_it_is(run), run(with_pool(call_.slots), quiet)};
}

std::pair<Case, Tensors> SlotContracts::gathered() const {
  Tensors dense = without(
      call_.inputs, {"state_batch_indices", "num_accepted_tokens", "dst_state_batch_indices"});
  for (const Tensor& pool : call_.inputs) {
    if (!call_.is_pool(pool.name())) continue;
    Tensor rows = empty_like(pool, Slot::name, sequences());
    for (Index i = 0; i < sequences(); ++i)
      if (!lane(i).padding)
        copy_bytes(pool.slice(Slot::name, lane(i).source, 1), rows.slice(Slot::name, i, 1));
    dense = with(std::move(dense), rows);
  }
  const Case own = with_pool(sequences()).with("indices", "none").with("dst", "none");
  return {own.with("accepted", "none").with("padding", "none").without("padded"), dense};
}

}  // namespace groundstate::harness
