#include "harness/run/report_message.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <vector>

namespace groundstate::harness {
namespace {

// The fields of each struct. A field that is missing here does not compile.

auto fields(Clause& x) {
  auto& [name, value, limit, applicable, passed, detail, raised] = x;
  return std::tie(name, value, limit, applicable, passed, detail, raised);
}
auto fields(Triple& x) {
  auto& [median, p999, maximum] = x;
  return std::tie(median, p999, maximum);
}
auto fields(Power& x) {
  auto& [carry, gate] = x;
  return std::tie(carry, gate);
}
auto fields(PairAt& x) {
  auto& [sequence, head] = x;
  return std::tie(sequence, head);
}
auto fields(BadElement& x) {
  auto& [pair, row, column, got, expected, error] = x;
  return std::tie(pair, row, column, got, expected, error);
}
auto fields(TensorAxes& x) {
  auto& [rows_are_time, sequence, head, row, column, chunk, chunk_rows, chunk_number] = x;
  return std::tie(rows_are_time, sequence, head, row, column, chunk, chunk_rows, chunk_number);
}
auto fields(Where::Affected& x) {
  auto& [values, all] = x;
  return std::tie(values, all);
}
auto fields(Where& x) {
  auto& [axes, elements, bad, first, worst, sequences, heads, rows, columns, residue, ragged_tail,
         first_token, last_token, unwritten_rows] = x;
  return std::tie(axes, elements, bad, first, worst, sequences, heads, rows, columns, residue,
                  ragged_tail, first_token, last_token, unwritten_rows);
}
auto fields(ErrorPicture::Along& x) {
  auto& [rows, maximum, rms, emulation_rms] = x;
  return std::tie(rows, maximum, rms, emulation_rms);
}
auto fields(ErrorPicture::Map& x) {
  auto& [rows, pairs, lines, cells] = x;
  return std::tie(rows, pairs, lines, cells);
}
auto fields(ErrorPicture& x) {
  auto& [axes, length, path, emulation, along, map] = x;
  return std::tie(axes, length, path, emulation, along, map);
}
auto fields(TensorVerdict& x) {
  auto& [tensor, status, clauses, errors, emulation, power, elements, sampled_pairs, pairs, where,
         finding, picture] = x;
  return std::tie(tensor, status, clauses, errors, emulation, power, elements, sampled_pairs, pairs,
                  where, finding, picture);
}
auto fields(PathVerdict& x) {
  auto& [status, tensors] = x;
  return std::tie(status, tensors);
}
auto fields(StageReport& x) {
  auto& [chunk, verdict, missing, note] = x;
  return std::tie(chunk, verdict, missing, note);
}
auto fields(WindowMoments& x) {
  auto& [mean, rms] = x;
  return std::tie(mean, rms);
}
auto fields(RecordedOutput& x) {
  auto& [name, type, shape, sha256, elements, moments] = x;
  return std::tie(name, type, shape, sha256, elements, moments);
}
auto fields(OracleCertificate& x) {
  auto& [tensor, exact, largest, good] = x;
  return std::tie(tensor, exact, largest, good);
}
auto fields(GradientCertificate& x) {
  auto& [pairs, worst] = x;
  return std::tie(pairs, worst);
}
auto fields(Result& x) {
  auto& [path, recipe, form, device, status, seconds, memory_violated, unfinished, verdict, stages,
         certificate, gradients, recorded, note, reproducer] = x;
  return std::tie(path, recipe, form, device, status, seconds, memory_violated, unfinished, verdict,
                  stages, certificate, gradients, recorded, note, reproducer);
}
auto fields(EqualityResult& x) {
  auto& [name, reason, violation, declared] = x;
  return std::tie(name, reason, violation, declared);
}
auto fields(CaseReport& x) {
  auto& [case_text, id, operator_name, reason, request, results, equalities, raised_limit_problems,
         mistrusted, pairs, sampled] = x;
  return std::tie(case_text, id, operator_name, reason, request, results, equalities,
                  raised_limit_problems, mistrusted, pairs, sampled);
}

template <class T>
constexpr bool is_plain = std::is_arithmetic_v<T> || std::is_enum_v<T>;

class Writer {
 public:
  std::string bytes;

  template <class T>
  void put(T& x) {
    if constexpr (is_plain<T>)
      bytes.append(reinterpret_cast<const char*>(&x), sizeof x);
    else
      std::apply([this](auto&... own) { (this->put(own), ...); }, fields(x));
  }
  void put(std::string& text) {
    put_size(text.size());
    bytes += text;
  }
  template <class T, std::size_t size>
  void put(std::array<T, size>& list) {
    for (T& x : list) put(x);
  }
  template <class T>
  void put(std::vector<T>& list) {
    put_size(list.size());
    for (T& x : list) put(x);
  }
  template <class T>
  void put(std::optional<T>& x) {
    put_size(x ? 1 : 0);
    if (x) put(*x);
  }

 private:
  void put_size(std::size_t size) { put(size); }
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  void get(T& x) {
    if constexpr (is_plain<T>)
      std::memcpy(&x, next(sizeof x).data(), sizeof x);
    else
      std::apply([this](auto&... own) { (this->get(own), ...); }, fields(x));
  }
  void get(std::string& text) { text = next(size()); }
  void get(bool& x) { x = byte_up_to(1) != 0; }
  void get(Status& x) {
    x = static_cast<Status>(byte_up_to(static_cast<unsigned char>(Status::unsupported)));
  }
  template <class T, std::size_t size>
  void get(std::array<T, size>& list) {
    for (T& x : list) get(x);
  }
  template <class T>
  void get(std::vector<T>& list) {
    for (std::size_t left = size(); left > 0; --left) get(list.emplace_back());
  }
  template <class T>
  void get(std::optional<T>& x) {
    if (size() != 0) get(x.emplace(T{}));
  }
  bool at_end() const { return bytes_.empty(); }

 private:
  // Every element has at least one byte, so that a size beyond what is left is nonsense.
  std::size_t size() {
    std::size_t size = 0;
    get(size);
    if (size > bytes_.size()) throw std::runtime_error("a report ends too early");
    return size;
  }
  unsigned char byte_up_to(unsigned char last) {
    const auto byte = static_cast<unsigned char>(next(1).front());
    if (byte > last) throw std::runtime_error("a report holds nonsense");
    return byte;
  }
  std::string_view next(std::size_t size) {
    if (size > bytes_.size()) throw std::runtime_error("a report ends too early");
    const std::string_view part = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return part;
  }
  std::string_view bytes_;
};

}  // namespace

std::string report_message(CaseReport report) {
  Writer writer;
  writer.put(report);
  return std::move(writer.bytes);
}

CaseReport read_report(std::string_view message) {
  Reader reader(message);
  CaseReport report;
  reader.get(report);
  if (!reader.at_end()) throw std::runtime_error("a report does not end");
  return report;
}

}  // namespace groundstate::harness
