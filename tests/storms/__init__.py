"""Bad weather between syncd and a product: a proxy that answers in the product's place, late, twice, or not at all."""
