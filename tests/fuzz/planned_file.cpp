#include "tests/fuzz/planned_file.hpp"

#include <hdf5.h>

#include <array>

#include "harness/fixture/library.hpp"
#include "harness/fixture/stored_type.hpp"

namespace groundstate::fuzz {
namespace {

using harness::check, harness::Handle;

constexpr int last_element_type = static_cast<int>(ElementType::float8);

// The element types of the harness, and then others.
Handle file_type(int number) {
  if (number <= last_element_type) return harness::stored_type(static_cast<ElementType>(number));
  const auto copy = [](hid_t type) { return Handle(H5Tcopy(type), H5Tclose); };
  const std::array<hid_t, 10> plain{H5T_IEEE_F64BE, H5T_IEEE_F32BE,    H5T_STD_I64BE, H5T_STD_U16BE,
                                    H5T_STD_U8LE,   H5T_STD_I8LE,      H5T_STD_I16BE, H5T_STD_U32LE,
                                    H5T_STD_U64LE,  H5T_NATIVE_LDOUBLE};
  const auto index = static_cast<std::size_t>(number - last_element_type - 1);
  if (index < plain.size()) return copy(plain[index]);
  if (index == plain.size()) return copy(H5T_C_S1);
  if (index == plain.size() + 1) {
    Handle truth(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
    const std::int8_t yes = 1;
    check(H5Tenum_insert(truth, "yes", &yes));
    return truth;
  }
  if (index == plain.size() + 2) {
    Handle odd = copy(H5T_STD_I32LE);
    check(H5Tset_precision(odd, 17));
    check(H5Tset_offset(odd, 3));
    return odd;
  }
  Handle compound(H5Tcreate(H5T_COMPOUND, 8), H5Tclose);
  check(H5Tinsert(compound, "r", 0, H5T_IEEE_F32LE));
  check(H5Tinsert(compound, "i", 4, H5T_IEEE_F32LE));
  return compound;
}

void write(hid_t file, const PlannedAttribute& planned) {
  const Handle object(H5Oopen(file, planned.object.c_str(), H5P_DEFAULT), H5Oclose);
  const auto put = [&](hid_t type, hid_t space, const void* data) {
    if (check(H5Aexists(object, planned.name.c_str())) > 0)
      check(H5Adelete(object, planned.name.c_str()));
    const Handle attribute(
        H5Acreate2(object, planned.name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    check(H5Awrite(attribute, type, data));
  };
  const Handle scalar(H5Screate(H5S_SCALAR), H5Sclose);
  Handle text(H5Tcopy(H5T_C_S1), H5Tclose);
  check(H5Tset_size(text, H5T_VARIABLE));
  if (const auto* const one = std::get_if<std::string>(&planned.value)) {
    const char* const data = one->c_str();
    put(text, scalar, &data);
  } else if (const auto* const integer = std::get_if<std::int64_t>(&planned.value)) {
    put(H5T_STD_I64LE, scalar, integer);
  } else if (const auto* const real = std::get_if<double>(&planned.value)) {
    put(H5T_IEEE_F64LE, scalar, real);
  } else {
    const auto& list = std::get<std::vector<std::string>>(planned.value);
    std::vector<const char*> data;
    for (const std::string& each : list) data.push_back(each.c_str());
    const hsize_t size = list.size();
    put(text, Handle(H5Screate_simple(1, &size, nullptr), H5Sclose), data.data());
  }
}

void write(hid_t file, hid_t links, const PlannedDataset& planned) {
  const Handle type = file_type(planned.type);
  const std::vector<hsize_t> extents(planned.extents.begin(), planned.extents.end());
  const Handle space(
      extents.empty() ? H5Screate(H5S_SCALAR)
                      : H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
      H5Sclose);
  std::uint64_t bytes = H5Tget_size(type);
  for (const hsize_t extent : extents)
    bytes = __builtin_mul_overflow(bytes, extent, &bytes) ? most_written + 1 : bytes;
  const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  if (planned.layout == Layout::compact) check(H5Pset_layout(properties, H5D_COMPACT));
  if (planned.layout == Layout::chunked || planned.layout == Layout::compressed) {
    const std::vector<hsize_t> chunk(extents.size(), 2);
    check(H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data()));
    if (planned.layout == Layout::compressed) check(H5Pset_deflate(properties, 1));
  }
  const Handle dataset(
      H5Dcreate2(file, planned.path.c_str(), type, space, links, properties, H5P_DEFAULT),
      H5Dclose);
  if (bytes > most_written) return;  // and is never allocated
  std::string elements = planned.elements;
  elements.resize(bytes);
  check(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, elements.data()));
}

// What libhdf5 does not let be made is left out.
template <class Make>
void attempt(const Make& make) {
  try {
    make();
  } catch (const harness::LibraryError&) {
  }
}

}  // namespace

std::string image_of(const PlannedFile& planned) {
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  check(H5Pset_fapl_core(access, 1 << 12, false));
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  check(H5Pset_create_intermediate_group(links, 1));
  const Handle file(H5Fcreate("planned.h5", H5F_ACC_TRUNC, H5P_DEFAULT, access), H5Fclose);
  for (const PlannedDataset& each : planned.datasets) attempt([&] { write(file, links, each); });
  for (const PlannedAttribute& each : planned.attributes) attempt([&] { write(file, each); });
  for (const PlannedFile::Link& link : planned.links)
    attempt([&] {
      check(link.soft
                ? H5Lcreate_soft(link.object.c_str(), file, link.path.c_str(), links, H5P_DEFAULT)
                : H5Lcreate_hard(file, link.object.c_str(), file, link.path.c_str(), links,
                                 H5P_DEFAULT));
    });
  check(H5Fflush(file, H5F_SCOPE_GLOBAL));
  std::string image(static_cast<std::size_t>(check(H5Fget_file_image(file, nullptr, 0))), '\0');
  check(H5Fget_file_image(file, image.data(), image.size()));
  return image;
}

}  // namespace groundstate::fuzz
