"""Container engines: which one works, how a job's command becomes the engine's, and how images are got.

Flux's job runs the engine, never the other way round: ranks, limits, cancelling and exit codes stay Flux's.
"""

from streamflow_fluxop.containers.engines import ENGINES, ContainerJob, Engine, EngineName, argv_of
from streamflow_fluxop.containers.image import Container, Image

__all__ = ["ENGINES", "Container", "ContainerJob", "Engine", "EngineName", "Image", "argv_of"]
