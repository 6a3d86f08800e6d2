// The words with which a contract lists its tensors: visit(name, view, element class, presence).
#pragma once

namespace groundstate {

// Which of the element types of a case a tensor has.
enum class ElementClass { activation, gate, state, index };
enum class Presence { required, optional };

}  // namespace groundstate
