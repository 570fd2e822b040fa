"""Which runs to make next: beliefs about the laws, designs that tell most per cost, plans and study files."""
