"""How well predictions hold on devices and models that the fit has not seen."""
