// Configures OHIF: the one data source is the DICOMweb service that serves this file.

const services = new URL("../dicomweb", document.currentScript.src).href;

window.config = {
  name: "dimse-ingestion",
  routerBasename: "/viewer",
  extensions: [],
  modes: [],
  customizationService: {},
  showStudyList: true,
  maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true,
  showErrorDetails: "always",
  investigationalUseDialog: { option: "always" },
  maxNumRequests: { interaction: 32, thumbnail: 5, prefetch: 6 },
  defaultDataSourceName: "dicomweb",
  dataSources: [
    {
      namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
      sourceName: "dicomweb",
      configuration: {
        friendlyName: "This storage space",
        name: "dicomweb",
        qidoRoot: services,
        wadoRoot: services,
        wadoUriRoot: new URL("../wado", document.currentScript.src).href,
        qidoSupportsIncludeField: true,
        supportsFuzzyMatching: true,
        supportsWildcard: true,
        imageRendering: "wadors",
        thumbnailRendering: "thumbnail",
        thumbnailRequestStrategy: "fetch",
        enableStudyLazyLoad: true,
        bulkDataURI: { enabled: true, relativeResolution: "studies" },
        omitQuotationForMultipartRequest: true,
        dicomUploadEnabled: false,
      },
    },
  ],
};
