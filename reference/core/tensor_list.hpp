// The words with which a contract lists its tensors: visit(name, view, element class, presence).
#pragma once

namespace groundstate {

// Which of the element types of a case a tensor has. A scale, of codes, is fp32.
enum class ElementClass { activation, gate, state, index, scale };
enum class Presence { required, optional };

}  // namespace groundstate
