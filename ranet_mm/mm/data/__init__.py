"""Images and labels for mmpretrain: data sets, what they are by their pixels, and batches made on the device."""
